from __future__ import annotations

import numpy as np
import pytest

from sedp.engine.graph import Graph, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.search import (
    STEP,
    PlanGrid,
    Target,
    Trial,
    find_goodput,
    search_plans,
    with_plans,
)
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson
from tests.simulator.plain_graph import chain

MS = 1_000_000
COSTS = LinearService((StageCost(MS // 2, row_ns=1000), StageCost(2 * MS, row_ns=20_000)))


def offer(graph: Graph, rate: float) -> SimulatedRun:
    """At least a thousand requests of ten rows each, half a second of them."""
    arrivals = poisson(
        rate, max(1000, int(rate / 2)), np.random.default_rng(1), rows=np.array([10])
    )
    return Simulator(Scheduler(graph), COSTS, np.random.default_rng(2), cores=2).run(arrivals)


@pytest.mark.parametrize("limit", [100.0, 101.0, 130.0, 199.0, 5000.0])
def test_goodput_is_found_to_within_a_step(limit: float) -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = find_goodput(holds, 100.0)
    assert limit / (1 + STEP) <= found <= limit
    assert len(tried) < 20


def test_plan_that_fails_at_the_lowest_rate_is_worth_nothing() -> None:
    assert find_goodput(lambda rate: False, 100.0) == 0


@pytest.mark.slow
def test_search_finds_the_best_plan_without_a_full_search_of_the_others() -> None:
    grids = [PlanGrid(), PlanGrid(concurrency=(1, 2), batch_rows_max=(10, 40, 4000))]
    target = Target(12 * MS)
    graph = chain(2, in_flight_max=4096)
    found = search_plans(graph, grids, offer, target, rate=100)

    def goodput(plan: StagePlan) -> float:
        tried = with_plans(graph, [StagePlan(), plan])
        return find_goodput(lambda rate: target.holds(offer(tried, rate)), 100)

    goodputs = {plan: goodput(plan) for plan in grids[1].plans()}
    best = max(goodputs.values())
    assert found.goodput == pytest.approx(best, rel=STEP)
    assert goodputs[found.plans[1]] >= best / (1 + STEP)
    assert min(goodputs.values()) < best / 2  # it did matter which
    assert {trial.plans[1] for trial in found.path} == set(goodputs)
    assert len(found.path) < 40


def test_search_keeps_what_it_tried() -> None:
    """A planted optimum: two runs at once hold 300 a second, one holds 100."""
    slow, fast = StagePlan(concurrency=1), StagePlan(concurrency=2)
    arrival = [Arrival(0, 0, 1)]

    def planted(graph: Graph, rate: float) -> SimulatedRun:
        limit = 300 if graph.stages[0].plan == fast else 100
        costs = LinearService((StageCost(MS if rate <= limit else 3 * MS),))
        return Simulator(Scheduler(graph), costs, np.random.default_rng(0)).run(arrival)

    grid = PlanGrid(concurrency=(1, 2, 1))
    found = search_plans(chain(1), [grid], planted, Target(2 * MS), rate=50)
    assert found.plans == (fast,)
    assert 300 / (1 + STEP) <= found.goodput <= 300
    assert found.path[0] == Trial((slow,), 50, holds=True)
    assert found.path[-1] == Trial((slow,), found.goodput * (1 + STEP), holds=False)
    for trial in found.path:
        assert trial.holds == (trial.rate <= (300 if trial.plans == (fast,) else 100))


def test_grid_without_a_plan_that_keeps_the_target_says_so() -> None:
    found = search_plans(chain(2), [PlanGrid()] * 2, offer, Target(MS), rate=100)
    assert found.goodput == 0
    assert [trial.holds for trial in found.path] == [False]
