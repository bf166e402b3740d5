"""Windows are differences of snapshots, and joined windows their sums."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.events import Arrived, Cancelled, Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.histogram import Histogram
from sedp.engine.scheduler import Scheduler
from sedp.manager.observation import interpolate, merge, observe, share_below
from tests.manager.plans import TARGET_NS, chain, machine, phases

PLAN = StagePlan(2, 256, 0, 1024)
VALUES = st.lists(st.integers(0, 2**40), min_size=1, max_size=50)


def histogram(values: list[int]) -> Histogram:
    filled = Histogram()
    for value in values:
        filled.record(value)
    return filled


def test_windows_add_up_to_the_whole_run() -> None:
    run = machine().serve(chain(PLAN, PLAN), phases((600.0, 5)))
    whole = reduce(merge, run.windows)
    seen, stage = whole.pipelines[0], whole.stages[1]
    assert seen.offered == seen.answered + seen.refused
    assert seen.answered == stage.events == seen.latency_ns.count
    assert stage.rows == stage.batch_rows.total == 32 * stage.events
    assert stage.batches == stage.service_ns.count
    assert seen.refused > 0
    assert whole.window_ns == len(run.windows) * 1_000_000_000


def test_plan_of_a_window_is_the_one_in_force() -> None:
    run = machine().serve(chain(PLAN, PLAN), phases((100.0, 3)))
    assert [stage.plan for stage in run.windows[0].stages] == [PLAN, PLAN]


def test_callers_who_left_are_not_lost_by_the_pipeline() -> None:
    graph = chain(PLAN)
    scheduler = Scheduler(graph)
    before = scheduler.statistics()
    for event in range(3):
        scheduler.handle(event, Arrived(event, 0, 32))
    scheduler.handle(4, Cancelled(2))
    after = scheduler.statistics()
    seen = observe(
        before,
        after,
        graph=graph,
        targets_ns={"p": TARGET_NS},
        now_ns=5,
        window_ns=5,
        cores=2,
    ).pipelines[0]
    assert after.pipelines[0].outcomes[Outcome.CANCELLED] == 1
    assert seen.lost_share == 0
    assert seen.offered == after.pipelines[0].in_flight


@given(VALUES, st.floats(0, 1))
def test_interpolated_quantile_lies_in_its_bucket(values: list[int], q: float) -> None:
    snapshot = histogram(values).snapshot()
    found = interpolate(snapshot, q)
    assert found <= snapshot.quantile(q)
    assert found >= 0.87 * snapshot.quantile(q) - 1 or found >= min(values) * 0.87 - 1


@given(VALUES, st.integers(0, 2**40))
def test_share_below_is_near_the_true_share(values: list[int], limit: int) -> None:
    share = share_below(histogram(values).snapshot(), limit)
    surely = sum(value <= limit * 0.88 - 1 for value in values) / len(values)
    at_most = sum(value <= limit * 1.13 + 1 for value in values) / len(values)
    assert surely - 1e-9 <= share <= at_most + 1e-9


def test_empty_histogram_has_no_share_and_no_quantile() -> None:
    empty = Histogram().snapshot()
    assert interpolate(empty, 0.99) == 0
    assert share_below(empty, 10) == 0


@pytest.mark.parametrize("executors", [(), ("thread", "inline")])
def test_executors_are_auto_unless_told(executors: tuple[str, ...]) -> None:
    graph = chain(PLAN, PLAN)
    snapshot = Scheduler(graph).statistics()
    seen = observe(
        snapshot,
        snapshot,
        graph=graph,
        targets_ns={},
        now_ns=1,
        window_ns=1,
        cores=1,
        executors=executors,
    )
    assert tuple(stage.executor for stage in seen.stages) == (executors or ("auto", "auto"))
    assert [stage.inline for stage in seen.stages] == [False, "inline" in executors]
    assert seen.pipelines[0].target_ns == 0
