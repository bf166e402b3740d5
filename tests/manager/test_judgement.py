"""When moves are kept, taken back, and how long what failed is left alone."""

from __future__ import annotations

import pytest

from sedp.engine.graph import StagePlan
from sedp.engine.histogram import Histogram
from sedp.manager.judgement import (
    FAILURES_MAX,
    TABU_NS,
    Pause,
    Tabu,
    Trial,
    Window,
    tried,
)
from sedp.manager.moves import Came, Expected, Move, MoveLog, change_plans
from sedp.manager.observation import PipelineSeen
from tests.manager.plans import MS, TARGET_NS

SECOND_NS = 1_000_000_000


def window(offered: int, answered: int, latency_ns: int = 100 * MS) -> Window:
    latencies = Histogram()
    for _ in range(answered):
        latencies.record(latency_ns)
    lost = offered - answered
    seen = PipelineSeen("p", TARGET_NS, offered, answered, lost, 0, latencies.snapshot())
    return Window(seen, SECOND_NS)


def move(knob: str = "concurrency", before: int = 1, after: int = 2) -> Move:
    promise = Expected(1.2, 500.0, 100 * MS)
    return Move(1, 0, "p", "s", knob, before, after, {}, "because", promise)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (window(500, 300), window(500, 360), "kept"),
        (window(500, 300), window(500, 301), "reverted"),  # it brought nothing
        (window(500, 300), window(500, 240), "reverted"),
        (window(500, 300), window(700, 300), "unclear"),  # full before and after
        (window(300, 300), window(100, 100), "unclear"),  # the load fell
        (window(500, 300), window(700, 200), "reverted"),  # worse, whatever the load
        (window(500, 300), window(500, 300, 400 * MS), "reverted"),  # all late now
        (window(500, 300, 900 * MS), window(500, 290, 450 * MS), "kept"),  # late, but less
    ],
)
def test_verdict_follows_what_was_answered_in_time(
    before: Window, after: Window, verdict: str
) -> None:
    assert Trial([move()], before, 1).judge(after).verdict == verdict


def test_failed_steps_are_tabu_and_so_is_more_of_them() -> None:
    tabu = Tabu()
    failed = tried([move()])
    tabu.fail(failed, 0, 500.0)
    assert not tabu.allows(failed)
    assert not tabu.allows(failed | tried([move("batch_rows_max")]))
    assert tabu.allows(tried([move(before=2, after=1)])), "the other way is another matter"


@pytest.mark.parametrize(("now_ns", "offered_s"), [(TABU_NS, 500.0), (1, 300.0)])
def test_tabu_ends_with_time_or_with_the_load(now_ns: int, offered_s: float) -> None:
    tabu = Tabu()
    tabu.fail(tried([move()]), 0, 500.0)
    tabu.forget(1, 500.0)
    assert not tabu.allows(tried([move()]))
    tabu.forget(now_ns, offered_s)
    assert tabu.allows(tried([move()]))


def test_after_some_failures_it_rests() -> None:
    tabu = Tabu()
    for number in range(FAILURES_MAX):
        assert not tabu.is_resting
        tabu.fail(frozenset({(("p", f"s{number}"), "concurrency", True)}), 0, 500.0)
    assert tabu.is_resting
    tabu.succeed(1.5)
    assert not tabu.is_resting


def test_pauses_double_while_the_load_is_the_same_and_end_in_rest() -> None:
    pause, looks = Pause(), []
    for number in range(1000):
        if not pause.holds(window(500, 300)):
            looks.append(number)
            pause.lengthen(window(500, 300))
    assert looks == [0, 3, 8, 17, 34]


@pytest.mark.parametrize("changed", [window(800, 300), window(500, 200)])
def test_another_load_or_rate_of_answers_ends_a_pause(changed: Window) -> None:
    pause = Pause()
    pause.lengthen(window(500, 300))
    assert pause.holds(window(500, 300))
    assert not pause.holds(changed)


def test_log_forgets_the_oldest_and_counts_them() -> None:
    log = MoveLog(moves_max=3)
    for _ in range(5):
        log.append(move())
    assert len(log) == 3
    assert log.total == 5


def test_what_came_is_written_to_its_moves_alone() -> None:
    log = MoveLog()
    log.append(move())
    came = Came(1.1, 400.0, 100 * MS, "kept")
    log.conclude([2], came)
    assert [m.came for m in log] == [None]
    log.conclude([1], came)
    assert [m.came for m in log] == [came]


def test_moves_of_one_stage_change_its_plan_together() -> None:
    plans = {("p", "s"): StagePlan(), ("p", "t"): StagePlan()}
    moves = [move(), move("batch_rows_max", 1024, 512), move("executor", 0, 0)]
    assert change_plans(plans, moves) == {("p", "s"): StagePlan(2, 512)}
