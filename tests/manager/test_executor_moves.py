"""Where stages run, found by the tuner: threads for long runs, the event loop for short ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import pytest

from sedp.engine.graph import StagePlan
from sedp.engine.histogram import BOUNDS
from sedp.manager.bounds import Bounds
from sedp.manager.cost_model import Cost
from sedp.manager.executors import HOP_NS, begins_to_hold, move_load
from sedp.manager.forecast import StageLoad, forecast
from sedp.manager.loop_bounds import COMES_NS_MAX, HOLDS_NS_MAX
from sedp.manager.scene import set_scene
from sedp.manager.search import Goal, search
from sedp.manager.tuner import ModelTuner
from sedp.simulator.service import StageCost
from tests.manager.plans import MS, ROWS, TARGET_NS, chain, phases
from tests.manager.tuned_run import Machine, TunedRun

PLACES = ("inline", "thread")


def best_static_s(machine: Machine, plans: Iterable[Sequence[StagePlan]], rate_s: float) -> float:
    """Events a second in time with the best of these plans, all in threads or all inline."""
    runs = (
        machine.serve(chain(*stages), phases((rate_s, 5)), executors=(place,) * len(stages))
        for stages in plans
        for place in PLACES
    )
    return max(run.in_time_s(2, 5) for run in runs)


def executor_moves(run: TunedRun) -> set[tuple[str, object]]:
    return {(move.stage, move.after) for move in run.moves if move.knob == "executor"}


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2])
def test_long_runs_leave_the_loop_for_free_threads(slots: int) -> None:
    costs = (StageCost(5 * MS, 20_000.0, jitter=0.1), StageCost(20 * MS, 100_000.0, jitter=0.1))
    machine, rate_s = Machine(costs, 4, TARGET_NS, HOP_NS), 500.0
    bounds = {("p", f"s{n}"): Bounds(concurrency=(1, 2), executors=PLACES) for n in (0, 1)}
    start = StagePlan(slots, 512, 0, 2048)
    run = machine.serve(
        chain(start, start), phases((rate_s, 60)), ModelTuner(bounds), executors=("inline",) * 2
    )
    grid = (
        (StagePlan(2, rows, 0, queued * rows), StagePlan(2, rows, 0, 2 * rows))
        for rows, queued in product((128, 256, 512, 768), (1, 2))
    )
    best_s = best_static_s(machine, grid, rate_s)
    assert run.in_time_s(0, 5) < 0.5 * best_s, "one loop has to do all of it"
    assert run.in_time_s(50, 59) >= 0.9 * best_s, f"{run.in_time_s(50, 59)} of {best_s}"
    assert ("s1", "thread") in executor_moves(run)
    assert run.executors[1] == "thread"


@pytest.mark.slow
def test_short_runs_come_to_the_loop_where_the_hop_is_most_of_their_time() -> None:
    costs = tuple(StageCost(HOP_NS, jitter=0.1) for _ in range(3))
    target_ns = next(bound for bound in BOUNDS if bound >= 50 * MS)
    machine, rate_s = Machine(costs, 1, target_ns, HOP_NS), 2600.0
    one_event = {
        ("p", f"s{n}"): Bounds((1, 4), (ROWS, ROWS), (0, 0), executors=PLACES) for n in range(3)
    }
    plans = [StagePlan(1, ROWS, 0, 1024)] * 3
    tuner = ModelTuner(one_event)
    run = machine.serve(chain(*plans), phases((rate_s, 16)), tuner, executors=("thread",) * 3)
    best_s = best_static_s(machine, [plans], rate_s)
    assert run.in_time_s(2, 6) < 0.7 * best_s
    assert run.in_time_s(12, 15) >= 0.9 * best_s, f"{run.in_time_s(12, 15)} of {best_s}"
    assert executor_moves(run) == {(f"s{n}", "inline") for n in range(3)}
    for move in tuner.log:
        if move.knob == "executor":
            assert move.before == "thread"
            assert move.expected is not None
            assert move.came is not None
            assert move.came.verdict == "kept"


@pytest.mark.slow
def test_no_executor_moves_where_no_bounds_name_any() -> None:
    costs = (StageCost(20 * MS, 100_000.0, jitter=0.1),)
    start = StagePlan(2, 512, 0, 2048)
    run = Machine(costs, 2, TARGET_NS, HOP_NS).serve(
        chain(start), phases((400.0, 15)), ModelTuner(), executors=("inline",)
    )
    assert run.moves
    assert executor_moves(run) == set()
    assert run.executors == ["inline"]


def stage(fixed_ns: float, rows_max: int = ROWS, *, inline: bool = False) -> StageLoad:
    plan = StagePlan(1, rows_max, 0, 4096)
    return StageLoad(plan, Cost(fixed_ns, 0.0, 0.0, ROWS), ROWS, inline=inline)


def test_hop_is_saved_on_the_loop_and_paid_in_a_thread() -> None:
    inline = move_load(stage(3 * HOP_NS), "inline")
    assert inline.inline
    assert inline.cost.fixed_ns == 2 * HOP_NS
    assert move_load(inline, "thread") == stage(3 * HOP_NS)
    assert move_load(inline, "inline") is inline


def test_no_run_becomes_free_by_saving_a_hop() -> None:
    assert move_load(stage(HOP_NS / 2), "inline").cost.fixed_ns > 0


def test_auto_has_short_runs_on_the_loop_and_leaves_those_between_where_they_are() -> None:
    between = (COMES_NS_MAX + HOLDS_NS_MAX) / 2
    assert move_load(stage(COMES_NS_MAX - 1), "auto").inline
    assert not move_load(stage(between), "auto").inline
    assert move_load(stage(between, inline=True), "auto").inline
    assert not move_load(stage(HOLDS_NS_MAX, inline=True), "auto").inline


def test_forecasts_have_runs_where_they_were_seen() -> None:
    """Runs of auto that may not be given up stay in threads, however short they are."""
    run = Machine((StageCost(MS / 10),), 1, TARGET_NS).serve(
        chain(StagePlan(1, ROWS, 0, 4096)), phases((100.0, 2))
    )
    [window, *_] = run.windows
    for inline in (False, True):
        seen = replace(window, stages=(replace(window.stages[0], executor="auto", inline=inline),))
        key = seen.stages[0].key
        scene = set_scene(seen, "p", {key: Cost(1e5, 0.0, 0.0, ROWS)}, {key: Bounds()}, 1.0)
        assert scene is not None
        assert scene.loads[0].inline == inline


def test_no_step_makes_runs_hold_the_loop_for_long() -> None:
    short, long = stage(HOLDS_NS_MAX, inline=True), stage(HOLDS_NS_MAX + 1, inline=True)
    assert not begins_to_hold(stage(HOLDS_NS_MAX + HOP_NS), short)
    assert begins_to_hold(stage(HOLDS_NS_MAX + HOP_NS), long)
    assert begins_to_hold(short, long), "as larger batches do"
    assert not begins_to_hold(long, long), "what does so already may become better"
    assert not begins_to_hold(stage(1e9), stage(2e9))


def test_search_leaves_runs_in_threads_that_would_hold_the_loop() -> None:
    """Planted: without `begins_to_hold` the batches of the inline stage are doubled."""
    bounds = [Bounds((1, 1), (ROWS, 64 * ROWS), (0, 0), executors=PLACES)]
    half_ns = HOLDS_NS_MAX / 2
    usual = Cost(half_ns, half_ns / ROWS, 0.0, ROWS)
    inline = replace(stage(HOLDS_NS_MAX, inline=True), cost=usual)
    goal = Goal(450.0, 500 * MS, 1)
    found = search([inline], ["inline"], bounds, goal, lambda steps: True)
    assert found is not None
    assert {(step.knob, step.after) for _, step in found[0].steps} >= {("executor", "thread")}
    found = search([inline], ["auto"], bounds, goal, lambda steps: True)
    assert found is not None, "the engine goes to threads when runs become long"
    assert {step.knob for _, step in found[0].steps} == {"batch_rows_max"}


def test_inline_runs_hold_up_those_in_threads_beside_them() -> None:
    beside = replace(stage(MS), predecessors=(0,))
    held = forecast([stage(4 * MS, inline=True), beside], 200.0, 4)
    free = forecast([stage(4 * MS), beside], 200.0, 4)
    assert held.stage_ns[1] > free.stage_ns[1]
    assert held.p99_ns > free.p99_ns


def test_inline_stages_wait_for_each_other() -> None:
    small, large = stage(MS / 10, inline=True), stage(4 * MS, inline=True)
    alone = forecast([small], 200.0, 4)
    beside = forecast([small, replace(large, predecessors=(0,))], 200.0, 4)
    assert beside.p99_ns > alone.p99_ns + large.cost.fixed_ns
