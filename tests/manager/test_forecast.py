"""Forecasts against the simulator: capacity and p99 of whole pipelines; what slots are worth."""

from __future__ import annotations

import pytest

from sedp.engine.graph import StagePlan
from sedp.manager.cost_model import Cost
from sedp.manager.forecast import StageLoad, forecast, longest_path
from sedp.manager.queue_bounds import derive_queues
from tests.manager.plans import MS, ROWS, TARGET_NS, chain, machine, phases

FETCH = Cost(5.0 * MS, 20_000.0, 0.1)
RANK = Cost(20.0 * MS, 100_000.0, 0.1)


def loads(fetch: StagePlan, rank: StagePlan) -> list[StageLoad]:
    return [StageLoad(fetch, FETCH, ROWS), StageLoad(rank, RANK, ROWS, (0,))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fetch", "rank"),
    [
        ((2, 128), (2, 512)),
        ((2, 512), (2, 512)),
        ((1, 256), (2, 512)),
        ((2, 64), (2, 256)),
        ((2, 256), (2, 256)),
        ((2, 512), (3, 512)),
        ((4, 512), (4, 512)),
        ((16, 256), (2, 512)),
    ],
)
def test_saturated_pipeline_does_what_was_forecast(
    fetch: tuple[int, int], rank: tuple[int, int]
) -> None:
    plans = loads(StagePlan(*fetch), StagePlan(*rank))
    derived = derive_queues(plans, TARGET_NS, 2)
    promised = forecast(derived, 500, 2)
    run = machine().serve(chain(*(load.plan for load in derived)), phases((500.0, 8)))
    assert promised.capacity_s == pytest.approx(run.answered_s(2, 7), rel=0.1)
    assert promised.p99_ns == pytest.approx(run.seen(2, 7).p99_ns, rel=0.2)


def test_larger_batches_and_more_slots_never_cost_capacity_on_free_cores() -> None:
    for slots in (1, 2, 4):
        before_s = 0.0
        for rows in (32, 64, 128, 256, 512):
            plan = StagePlan(slots, rows, 0, 1 << 20)
            now_s = forecast(loads(plan, plan), 100, 64).capacity_s
            assert now_s > before_s
            before_s = now_s


def test_slots_beyond_the_cores_bring_latency_only() -> None:
    def saturated(slots: int) -> list[StageLoad]:
        return derive_queues(loads(StagePlan(2, 512), StagePlan(slots, 512)), TARGET_NS, 2)

    few, many = (forecast(saturated(slots), 500, 2) for slots in (2, 8))
    assert many.capacity_s < 1.1 * few.capacity_s
    assert many.p99_ns > 1.5 * few.p99_ns


def test_wait_for_company_counts_until_the_batch_is_full() -> None:
    def p99_ns(rate_s: float, wait_ns: int) -> float:
        plan = StagePlan(4, 512, wait_ns, 1 << 20)
        return forecast([StageLoad(plan, FETCH, ROWS)], rate_s, 4).p99_ns

    assert p99_ns(10, 50 * MS) - p99_ns(10, 0) == pytest.approx(50 * MS, rel=0.2)
    assert p99_ns(1500, 50 * MS) - p99_ns(1500, 0) < 25 * MS, "sixteen events come in 10 ms"


def test_inline_stages_share_the_loop() -> None:
    plan = StagePlan(4, 32, 0, 1 << 20)

    def capacity_s(inline: bool) -> float:
        stages = [StageLoad(plan, FETCH, ROWS, (), inline) for _ in range(2)]
        return forecast(stages, 100, 8).capacity_s

    alone_s = 1e9 / FETCH.service_ns(32)
    assert capacity_s(True) == pytest.approx(alone_s / 2, rel=0.1)
    assert capacity_s(False) > 6 * capacity_s(True)


def test_limit_just_short_of_two_events_is_worth_more_than_one_of_one() -> None:
    short, longer = (StageLoad(StagePlan(1, rows), FETCH, 40.0).full_events for rows in (40, 64))
    assert short == 1
    assert 1 < longer < 2


def test_longest_path_takes_the_slower_branch() -> None:
    plan = StagePlan()
    diamond = [
        StageLoad(plan, FETCH, ROWS),
        StageLoad(plan, FETCH, ROWS, (0,)),
        StageLoad(plan, FETCH, ROWS, (0,)),
        StageLoad(plan, FETCH, ROWS, (1, 2)),
    ]
    assert longest_path(diamond, [1.0, 5.0, 3.0, 2.0]) == 8.0


def test_queue_at_the_door_holds_what_can_be_drained_in_time() -> None:
    plans = loads(StagePlan(1, 64), StagePlan(2, 128))
    short, long = (derive_queues(plans, ms * MS, 2)[0].plan.queue_rows_max for ms in (300, 600))
    capacity_s = forecast(derive_queues(plans, 300 * MS, 2), 1e9, 2).capacity_s
    assert long - short == pytest.approx(0.3 * 0.8 * capacity_s * ROWS, rel=0.05)


def test_no_queue_is_too_short_for_a_full_batch() -> None:
    for rows in (32, 100, 341, 1024):
        derived = derive_queues(loads(StagePlan(1, rows), StagePlan(1, rows)), 1, 2)
        assert all(load.plan.queue_rows_max >= rows for load in derived)
