"""The scheduler as a table: feed stimuli, compare commands. No loop, no sleep, no stage."""

from __future__ import annotations

import pytest

from sedp.engine.events import (
    DEADLINE_TIMER,
    Arrived,
    BatchFinished,
    Cancelled,
    DrainBegan,
    Finish,
    Outcome,
    PlanChanged,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.scheduler import Scheduler

NOW = StagePlan(batch_wait_ns=0)


def chain(*plans: StagePlan, in_flight_max: int = 100) -> Scheduler:
    """A pipeline of stages one after the other."""
    last = len(plans) - 1
    stages = tuple(
        StageNode(
            f"s{number}",
            0,
            plan,
            (number - 1,) if number else (),
            (number + 1,) if number < last else (),
        )
        for number, plan in enumerate(plans)
    )
    pipeline = PipelineNode("p", tuple(range(len(plans))), in_flight_max)
    return Scheduler(Graph((pipeline,), stages))


def diamond() -> Scheduler:
    """0 → (1, 2) → 3."""
    stages = (
        StageNode("split", 0, NOW, (), (1, 2)),
        StageNode("left", 0, NOW, (0,), (3,)),
        StageNode("right", 0, NOW, (0,), (3,)),
        StageNode("join", 0, NOW, (1, 2), ()),
    )
    return Scheduler(Graph((PipelineNode("p", (0, 1, 2, 3)),), stages))


def test_events_that_arrive_together_share_a_batch() -> None:
    core = chain(NOW)
    assert core.handle(5, Arrived(1, 0, 1, 900, more=True)) == []
    assert core.handle(5, Arrived(2, 0, 2, 800, more=True)) == []
    assert core.handle(5, Arrived(3, 0, 3, 850)) == [
        RunBatch(0, 0, (1, 2, 3)),
        SetTimer(DEADLINE_TIMER, 800),
    ]


def test_a_refusal_among_them_does_not_hold_the_others_up() -> None:
    core = chain(NOW, in_flight_max=2)
    core.handle(5, Arrived(1, 0, 1, more=True))
    core.handle(5, Arrived(2, 0, 1, more=True))
    assert core.handle(5, Arrived(3, 0, 1)) == [
        Finish((3,), Outcome.QUEUE_FULL),
        RunBatch(0, 0, (1, 2)),
    ]


def test_an_event_runs_through_all_stages_and_is_answered() -> None:
    core = chain(NOW, NOW)
    assert core.handle(0, Arrived(7, 0, 1)) == [RunBatch(0, 0, (7,))]
    assert core.handle(10, BatchFinished(0)) == [RunBatch(1, 1, (7,))]
    assert core.handle(20, BatchFinished(1)) == [Finish((7,), Outcome.ANSWERED)]
    assert core.in_flight == 0


def test_events_that_wait_for_a_slot_share_the_next_batch() -> None:
    core = chain(StagePlan(concurrency=1, batch_rows_max=10))
    core.handle(0, Arrived(0, 0, 1))
    assert core.handle(1, Arrived(1, 0, 4)) == []
    assert core.handle(2, Arrived(2, 0, 4)) == []
    assert core.handle(3, Arrived(3, 0, 4)) == []
    _, run = core.handle(5, BatchFinished(0))
    assert run == RunBatch(1, 0, (1, 2)), "the limit counts rows: 4 + 4 fit into 10, 12 do not"


def test_concurrency_bounds_the_runs_at_a_time() -> None:
    core = chain(StagePlan(concurrency=2, batch_rows_max=1))
    started = [core.handle(0, Arrived(event, 0, 1)) for event in range(4)]
    assert [len(commands) for commands in started] == [1, 1, 0, 0]


def test_an_event_larger_than_a_batch_runs_alone() -> None:
    core = chain(StagePlan(batch_rows_max=3))
    assert core.handle(0, Arrived(0, 0, 50)) == [RunBatch(0, 0, (0,))]


def test_a_batch_waits_for_company_until_it_is_full() -> None:
    core = chain(StagePlan(batch_rows_max=2, batch_wait_ns=100))
    assert core.handle(0, Arrived(0, 0, 1)) == [SetTimer(0, 100)]
    assert core.handle(60, Arrived(1, 0, 1)) == [RunBatch(0, 0, (0, 1))]


def test_a_batch_waits_no_longer_than_its_oldest_event_may() -> None:
    core = chain(StagePlan(batch_rows_max=10, batch_wait_ns=100))
    core.handle(0, Arrived(0, 0, 1))
    assert core.handle(90, Arrived(1, 0, 1)) == []
    assert core.handle(100, TimerFired(0)) == [RunBatch(0, 0, (0, 1))]


def test_the_tightest_deadline_closes_a_batch_early() -> None:
    core = chain(StagePlan(concurrency=2, batch_rows_max=10, batch_wait_ns=1000))
    core.handle(0, Arrived(0, 0, 10))
    core.handle(200, BatchFinished(0))  # so the stage is known to need 200
    commands = core.handle(1000, Arrived(1, 0, 1, deadline_ns=1500))
    assert SetTimer(0, 1300) in commands, "1500 - 200 is the last moment to start"
    assert core.handle(1300, TimerFired(0)) == [RunBatch(1, 0, (1,))]


def test_a_stale_timer_is_ignored() -> None:
    core = chain(StagePlan(batch_rows_max=1, batch_wait_ns=100))
    core.handle(0, Arrived(0, 0, 1))
    assert core.handle(100, TimerFired(0)) == []


def test_newcomers_are_refused_when_the_first_queue_is_full() -> None:
    core = chain(StagePlan(batch_rows_max=1, queue_rows_max=5))
    core.handle(0, Arrived(0, 0, 1))
    assert core.handle(1, Arrived(1, 0, 5)) == []
    assert core.handle(2, Arrived(2, 0, 1)) == [Finish((2,), Outcome.QUEUE_FULL)]


@pytest.mark.parametrize(("inside", "outcome"), [(2, None), (3, Outcome.QUEUE_FULL)])
def test_in_flight_is_bounded(inside: int, outcome: Outcome | None) -> None:
    core = chain(NOW, in_flight_max=3)
    for event in range(inside):
        core.handle(0, Arrived(event, 0, 1))
    refused = [c for c in core.handle(1, Arrived(9, 0, 1)) if isinstance(c, Finish)]
    assert refused == ([] if outcome is None else [Finish((9,), outcome)])


def test_a_full_queue_behind_pauses_the_stage_before_and_wakes_it_again() -> None:
    core = chain(NOW, StagePlan(batch_rows_max=1, queue_rows_max=1))
    core.handle(0, Arrived(0, 0, 1))
    core.handle(1, BatchFinished(0))  # 0 runs at s1
    core.handle(2, Arrived(1, 0, 1))
    assert core.handle(3, BatchFinished(2)) == []  # 1 waits before s1, whose queue is now full
    assert core.handle(4, Arrived(2, 0, 1)) == [], "s0 pauses: there is no room behind it"
    commands = core.handle(5, BatchFinished(1))
    assert commands[1:] == [RunBatch(3, 1, (1,)), RunBatch(4, 0, (2,))]


def test_a_join_waits_for_all_branches() -> None:
    core = diamond()
    core.handle(0, Arrived(5, 0, 1))
    assert core.handle(1, BatchFinished(0)) == [RunBatch(1, 1, (5,)), RunBatch(2, 2, (5,))]
    assert core.handle(2, BatchFinished(2)) == []
    assert core.handle(3, BatchFinished(1)) == [RunBatch(3, 3, (5,))]
    assert core.handle(4, BatchFinished(3)) == [Finish((5,), Outcome.ANSWERED)]


def test_a_failed_batch_is_run_again_event_by_event() -> None:
    core = chain(StagePlan(batch_rows_max=2))
    core.handle(0, Arrived(0, 0, 1))
    core.handle(0, Arrived(1, 0, 1))
    core.handle(0, Arrived(2, 0, 1))
    core.handle(1, BatchFinished(0))
    assert core.handle(2, BatchFinished(1, failed=True)) == [RunBatch(2, 0, (1,))]
    assert core.handle(3, BatchFinished(2, failed=True)) == [
        Finish((1,), Outcome.FAILED, 0),
        RunBatch(3, 0, (2,)),
    ]
    assert core.handle(4, BatchFinished(3)) == [Finish((2,), Outcome.ANSWERED)]


def test_an_event_that_cannot_be_in_time_is_never_started() -> None:
    core = chain(NOW, NOW)
    core.handle(0, Arrived(0, 0, 1))
    core.handle(100, BatchFinished(0))
    core.handle(300, BatchFinished(1))  # the path needs 100 + 200
    assert core.handle(1000, Arrived(1, 0, 1, deadline_ns=1299))[0] == Finish(
        (1,), Outcome.DEADLINE, 0
    )
    assert core.handle(2000, Arrived(2, 0, 1, deadline_ns=2300))[0] == RunBatch(2, 0, (2,))


def test_a_pessimistic_estimate_cannot_refuse_for_ever() -> None:
    core = chain(NOW)
    core.handle(0, Arrived(0, 0, 1))
    core.handle(10_000, BatchFinished(0))  # one slow run; callers want answers within 1000
    outcomes = []
    for event in range(1, 40):
        now_ns = 20_000 * event
        outcomes.append(type(core.handle(now_ns, Arrived(event, 0, 1, now_ns + 1000))[0]))
        if outcomes[-1] is RunBatch:
            break
    assert outcomes[-1] is RunBatch
    assert len(outcomes) < 30


def test_an_event_given_up_does_not_widen_the_batch_behind_it() -> None:
    core = chain(StagePlan(batch_rows_max=1))
    core.handle(0, Arrived(0, 0, 1))
    core.handle(0, Arrived(1, 0, 6, deadline_ns=50))
    core.handle(0, Arrived(2, 0, 1))
    core.handle(0, Arrived(3, 0, 1))
    assert core.handle(100, BatchFinished(0))[1:] == [
        Finish((1,), Outcome.DEADLINE, 0),
        RunBatch(1, 0, (2,)),
    ]


def test_a_deadline_that_passes_during_a_hung_run_is_told_at_once() -> None:
    core = chain(NOW)
    commands = core.handle(0, Arrived(0, 0, 1, deadline_ns=500))
    assert commands == [RunBatch(0, 0, (0,)), SetTimer(DEADLINE_TIMER, 500)]
    assert core.handle(500, TimerFired(DEADLINE_TIMER)) == [Finish((0,), Outcome.DEADLINE)]
    assert core.in_flight == 1, "the run still holds its rows"
    assert core.handle(900, BatchFinished(0)) == []
    assert core.in_flight == 0


def test_the_sweep_ends_events_in_queues_too_and_makes_room() -> None:
    core = chain(NOW, StagePlan(batch_rows_max=1, queue_rows_max=1))
    core.handle(0, Arrived(0, 0, 1))
    core.handle(0, BatchFinished(0))
    core.handle(0, Arrived(1, 0, 1, deadline_ns=50))
    core.handle(0, BatchFinished(2))
    core.handle(0, Arrived(2, 0, 1))  # paused before s0: 1 fills the queue before s1
    commands = core.handle(50, TimerFired(DEADLINE_TIMER))
    assert commands == [Finish((1,), Outcome.DEADLINE), RunBatch(3, 0, (2,))]


def test_a_cancelled_event_leaves_its_queue_and_frees_its_place() -> None:
    core = chain(StagePlan(queue_rows_max=1), in_flight_max=2)
    core.handle(0, Arrived(0, 0, 1))
    core.handle(0, Arrived(1, 0, 1))
    assert core.handle(1, Cancelled(1)) == [Finish((1,), Outcome.CANCELLED)]
    assert core.handle(2, Arrived(2, 0, 1)) == []
    assert core.handle(3, BatchFinished(0)) == [
        Finish((0,), Outcome.ANSWERED),
        RunBatch(1, 0, (2,)),
    ]


def test_a_cancelled_event_does_not_reach_the_next_stage() -> None:
    core = chain(NOW, NOW)
    core.handle(0, Arrived(0, 0, 1))
    core.handle(1, Cancelled(0))
    assert core.handle(2, BatchFinished(0)) == []
    assert core.in_flight == 0


def test_cancelling_an_unknown_event_does_nothing() -> None:
    assert chain(NOW).handle(0, Cancelled(99)) == []


def test_draining_refuses_newcomers_and_finishes_the_rest() -> None:
    core = chain(NOW)
    core.handle(0, Arrived(0, 0, 1))
    core.handle(1, DrainBegan())
    assert core.handle(2, Arrived(1, 0, 1)) == [Finish((1,), Outcome.DRAINING)]
    assert core.handle(3, BatchFinished(0)) == [Finish((0,), Outcome.ANSWERED)]


def test_a_new_plan_counts_from_the_next_decision() -> None:
    core = chain(StagePlan(concurrency=1, batch_rows_max=1))
    for event in range(3):
        core.handle(0, Arrived(event, 0, 1))
    commands = core.handle(1, PlanChanged(0, StagePlan(concurrency=3, batch_rows_max=1)))
    assert commands == [RunBatch(1, 0, (1,)), RunBatch(2, 0, (2,))]


def test_pipelines_do_not_share_limits() -> None:
    stages = (StageNode("a", 0, NOW), StageNode("b", 1, NOW))
    pipelines = (PipelineNode("p", (0,), 1), PipelineNode("q", (1,), 1))
    core = Scheduler(Graph(pipelines, stages))
    core.handle(0, Arrived(0, 0, 1))
    assert core.handle(0, Arrived(1, 0, 1)) == [Finish((1,), Outcome.QUEUE_FULL)]
    assert core.handle(0, Arrived(2, 1, 1)) == [RunBatch(1, 1, (2,))]


def test_statistics_count_what_happened() -> None:
    core = chain(StagePlan(batch_rows_max=8), in_flight_max=2)
    for event, rows in enumerate([3, 4, 1]):
        core.handle(event, Arrived(event, 0, rows))
    core.handle(10, BatchFinished(0))
    statistics = core.statistics()
    stage, pipeline = statistics.stages[0], statistics.pipelines[0]
    assert (stage.batches, stage.events, stage.rows, stage.running) == (2, 2, 7, 1)
    assert stage.wait_ns.count == 2
    assert stage.service_ns.total == 10
    assert pipeline.outcomes[Outcome.ANSWERED] == 1
    assert pipeline.outcomes[Outcome.QUEUE_FULL] == 1
    assert pipeline.latency_ns.total == 10
