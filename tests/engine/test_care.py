"""Time-outs, twins, breakers, fallbacks and admission, as a table of stimuli and commands."""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import (
    DEADLINE_TIMER,
    NEVER_NS,
    Abandon,
    AnyCommand,
    Arrived,
    BatchFinished,
    FallBack,
    Finish,
    LimitChanged,
    Outcome,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.graph import Graph, PipelineNode, StageCare, StageNode, StagePlan
from sedp.engine.pace import Pace
from sedp.engine.scheduler import Scheduler
from sedp.engine.stage_state import PipelineState
from sedp.engine.statistics import StageStatistics


def lone(care: StageCare, concurrency: int = 1, admission: Scripted | None = None) -> Scheduler:
    """One stage that takes one row at a time."""
    plan = StagePlan(concurrency, batch_rows_max=1)
    stage = StageNode("s", 0, plan, care=care, asks_pressure=True)
    return Scheduler(Graph((PipelineNode("p", (0,)),), (stage,)), [admission])


def counts(core: Scheduler) -> StageStatistics:
    return core.statistics().stages[0]


class Scripted:
    """An admission that does as it is told and writes down what it hears."""

    def __init__(self, pressure: int = 0) -> None:
        self.level_max = 9
        self.limit_ns = NEVER_NS
        self.now_pressure = pressure
        self.heard: list[tuple[object, ...]] = []

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        return Outcome.SHED if newcomer.level > self.level_max else None

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        return self.limit_ns

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None:
        self.heard.append((now_ns, "waited", wait_ns, events))

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        self.heard.append((now_ns, "ended", event.id, outcome))

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        return self.now_pressure


def test_a_run_that_takes_too_long_ends_its_events_but_keeps_its_slot() -> None:
    core = lone(StageCare(timeout_ns=10))
    assert core.handle(0, Arrived(1, 0, 1)) == [RunBatch(0, 0, (1,)), SetTimer(0, 10, 0)]
    core.handle(1, Arrived(2, 0, 1))
    ended: list[AnyCommand] = [Abandon(0), Finish((1,), Outcome.DEADLINE, 0, timed_out=True)]
    assert core.handle(10, TimerFired(0, 0)) == ended
    assert core.in_flight == 2  # the first still takes up memory
    assert core.handle(40, BatchFinished(0)) == [RunBatch(1, 0, (2,)), SetTimer(0, 50, 1)]
    assert core.in_flight == 1
    assert counts(core).timeouts == 1


def test_with_a_fallback_its_events_go_on_at_once() -> None:
    core = lone(StageCare(timeout_ns=10, has_fallback=True))
    core.handle(0, Arrived(1, 0, 1))
    assert core.handle(10, TimerFired(0, 0)) == [
        Abandon(0),
        FallBack(0, (1,), failed=True),
        Finish((1,), Outcome.ANSWERED),
    ]
    assert core.in_flight == 0
    assert core.handle(40, BatchFinished(0)) == []
    assert (counts(core).fallbacks, counts(core).running) == (1, 0)


def test_a_run_that_ends_in_time_makes_its_timer_stale() -> None:
    core = lone(StageCare(timeout_ns=10))
    core.handle(0, Arrived(1, 0, 1))
    assert core.handle(9, BatchFinished(0)) == [Finish((1,), Outcome.ANSWERED)]
    assert core.handle(10, TimerFired(0, 0)) == []


def test_a_failed_event_falls_back_only_when_it_failed_alone() -> None:
    plan = StagePlan(batch_rows_max=9)
    stage = StageNode("s", 0, plan, care=StageCare(has_fallback=True))
    core = Scheduler(Graph((PipelineNode("p", (0,)),), (stage,)))
    core.handle(0, Arrived(1, 0, 1, more=True))
    core.handle(0, Arrived(2, 0, 1))
    assert core.handle(1, BatchFinished(0, failed=True)) == [RunBatch(1, 0, (1,))]
    assert core.handle(2, BatchFinished(1, failed=True)) == [
        FallBack(0, (1,), failed=True),
        Finish((1,), Outcome.ANSWERED),
        RunBatch(2, 0, (2,)),
    ]


def test_the_faster_of_two_twins_is_taken() -> None:
    core = lone(StageCare(hedge_ns=5), concurrency=2)
    core.handle(0, Arrived(1, 0, 1))
    assert core.handle(5, TimerFired(0, 0)) == [RunBatch(1, 0, (1,)), SetTimer(0, 10, 1)]
    assert core.handle(7, BatchFinished(1)) == [Abandon(0), Finish((1,), Outcome.ANSWERED)]
    assert core.in_flight == 1  # the slower one still holds it
    assert core.handle(30, BatchFinished(0)) == []
    assert core.in_flight == 0
    assert counts(core).hedges == 1


def test_a_twin_carries_on_when_the_other_fails() -> None:
    core = lone(StageCare(hedge_ns=5), concurrency=2)
    core.handle(0, Arrived(1, 0, 1))
    core.handle(5, TimerFired(0, 0))
    assert core.handle(6, BatchFinished(0, failed=True)) == []
    assert core.handle(7, BatchFinished(1)) == [Finish((1,), Outcome.ANSWERED)]
    assert core.in_flight == 0


def test_there_is_no_twin_without_a_free_slot() -> None:
    core = lone(StageCare(hedge_ns=5), concurrency=1)
    core.handle(0, Arrived(1, 0, 1))
    assert core.handle(5, TimerFired(0, 0)) == []


def fail(core: Scheduler, runs: int) -> None:
    for number in range(runs):
        core.handle(number, Arrived(number, 0, 1))
        core.handle(number, BatchFinished(number, failed=True))


def test_a_breaker_opens_refuses_probes_and_closes() -> None:
    core = lone(StageCare(breaker_share=500, breaker_pause_ns=100))
    fail(core, 5)
    assert counts(core).breaker == "open"
    assert core.handle(50, Arrived(7, 0, 1)) == [Finish((7,), Outcome.UNAVAILABLE)]
    assert core.refuse(50, 0) is Outcome.UNAVAILABLE
    assert core.handle(104, Arrived(8, 0, 1)) == [RunBatch(5, 0, (8,))]
    assert counts(core).breaker == "probing"
    assert core.handle(104, Arrived(9, 0, 1)) == [Finish((9,), Outcome.UNAVAILABLE)]
    core.handle(105, BatchFinished(5))
    assert counts(core).breaker == "closed"


def test_a_failed_probe_doubles_the_pause() -> None:
    core = lone(StageCare(breaker_share=500, breaker_pause_ns=100))
    fail(core, 5)
    core.handle(104, Arrived(8, 0, 1))
    core.handle(105, BatchFinished(5, failed=True))
    assert core.refuse(304, 0) is Outcome.UNAVAILABLE
    assert core.refuse(305, 0) is None


def test_an_open_breaker_needs_no_slot_to_fall_back() -> None:
    care = StageCare(timeout_ns=10, breaker_share=1, breaker_pause_ns=1000, has_fallback=True)
    core = lone(care, concurrency=5)
    for number in range(5):
        core.handle(0, Arrived(number, 0, 1))
    for number in range(5):
        core.handle(10, TimerFired(0, number))
    assert counts(core).running == 5  # all hang
    assert core.handle(11, Arrived(9, 0, 1)) == [
        FallBack(0, (9,)),
        Finish((9,), Outcome.ANSWERED),
    ]


def test_a_stage_is_skipped_under_pressure() -> None:
    admission = Scripted(pressure=799)
    core = lone(StageCare(has_fallback=True, skip_above=800), admission=admission)
    assert core.handle(0, Arrived(1, 0, 1)) == [RunBatch(0, 0, (1,), 799)]
    core.handle(1, BatchFinished(0))
    admission.now_pressure = 800
    assert core.handle(2, Arrived(2, 0, 1)) == [FallBack(0, (2,)), Finish((2,), Outcome.ANSWERED)]
    assert counts(core).skips == 1


def test_admission_is_asked_at_the_door_and_told_of_waits_and_ends() -> None:
    admission = Scripted()
    admission.level_max = 2
    core = lone(StageCare(), admission=admission)
    assert core.handle(0, Arrived(1, 0, 1, level=3)) == [Finish((1,), Outcome.SHED)]
    core.handle(0, Arrived(2, 0, 1, level=2))
    core.handle(1, Arrived(3, 0, 1))
    core.handle(5, BatchFinished(0))
    assert admission.heard == [
        (0, "waited", 0, 1),
        (5, "ended", 2, Outcome.ANSWERED),
        (5, "waited", 4, 1),
    ]
    assert core.refuse(6, 0) is None


def test_what_has_waited_beyond_the_limit_is_dropped_from_a_first_queue() -> None:
    admission = Scripted()
    core = lone(StageCare(), admission=admission)
    for number in range(3):
        core.handle(number * 10, Arrived(number, 0, 1))
    admission.limit_ns = 15
    commands = core.handle(30, BatchFinished(0))
    assert Finish((1,), Outcome.SHED, 0) in commands
    assert RunBatch(1, 0, (2,)) in commands


def test_the_limit_of_a_pipeline_can_be_changed() -> None:
    core = lone(StageCare())
    core.handle(0, LimitChanged(0, 1))
    core.handle(0, Arrived(1, 0, 1))
    assert core.handle(0, Arrived(2, 0, 1)) == [Finish((2,), Outcome.QUEUE_FULL)]


def test_a_deadline_ends_an_event_whose_run_was_given_up() -> None:
    core = lone(StageCare(timeout_ns=10))
    commands = core.handle(0, Arrived(1, 0, 1, deadline_ns=5))
    assert SetTimer(DEADLINE_TIMER, 5) in commands
    assert core.handle(5, TimerFired(DEADLINE_TIMER)) == [Finish((1,), Outcome.DEADLINE)]
    assert core.handle(10, TimerFired(0, 0)) == [Abandon(0)]
    core.handle(20, BatchFinished(0))
    assert core.in_flight == 0


def test_pace_is_the_time_between_departures_while_all_slots_are_taken() -> None:
    pace = Pace()
    for number in range(200):  # two slots: each run takes 20, one ends every 10
        pace.saturated(number * 10)
        pace.departed(number * 10 + 10, number * 10 - 10, rows=5, slots=2)
    assert abs(pace.row_ns - 2.0) < 0.01
    assert abs(pace.batch_ns - 20) < 0.1


def test_with_slots_to_spare_a_run_s_time_is_shared_by_all_of_them() -> None:
    pace = Pace()
    pace.departed(40, 0, rows=2, slots=4)
    assert pace.row_ns == 5


def test_refused_unread_is_what_would_be_refused_at_the_size_that_is_usual() -> None:
    core = Scheduler(
        Graph((PipelineNode("p", (0,)),), (StageNode("s", 0, StagePlan(queue_rows_max=299)),))
    )
    for number in range(3):
        core.handle(0, Arrived(number, 0, 100))  # one runs, two wait
    assert core.refuse(0, 0) is None, "too few have come to know their size"
    for number in range(3, 600):
        core.handle(0, Arrived(number, 0, 100))
    assert core.refuse(0, 0) is Outcome.QUEUE_FULL
    core.handle(0, Arrived(999, 0, 40))
    assert core.refuse(0, 0) is None, "one as small as that would fit"
