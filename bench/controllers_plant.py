"""The simulated server that controllers are compared on: a ranker of three stages on two cores.

Costs are of the size of `ctr_rank`'s at a hundred candidates. Nobody loses patience within the
default bound of events in flight. A refusal costs the door `REFUSAL`
of what a served request costs, so that no controller can answer everybody who is still in time at
ten times the load: of a capacity of 1, `(1 - r·m) / (1 - r)` is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sedp.engine.admission import Admission
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.callers import Callers
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.search import Found, PlanGrid, Target, search_plans, with_plans
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.shapes import SECOND_NS
from sedp.simulator.traffic import RequestKind, mixed, poisson_times_ns

TARGET_NS = 20_000_000
LEVELS = 3
CORES = 2
REFUSAL = 0.01  # of a served request's work
KIND = RequestKind(
    rows=(40, 70, 90, 100, 110, 130, 160),
    target_ns=TARGET_NS,
    levels=(0.05, 0.35, 0.6),
)
COSTS = LinearService(
    (
        StageCost(100_000, row_ns=2000, event_ns=60_000, jitter=0.2),
        StageCost(50_000, row_ns=500, jitter=0.2),
        StageCost(400_000, row_ns=8000, jitter=0.2),
    )
)
GRIDS = (
    PlanGrid(concurrency=(1,), batch_rows_max=(400,)),
    PlanGrid(concurrency=(1,), batch_rows_max=(800,)),
    PlanGrid(concurrency=(1, 2, 3), batch_rows_max=(200, 400, 800)),
)
RATE_LOW = 200.0  # a second: what the worst plan of the grid can do
SEARCH_S = 3.0  # of simulated time a trial
SATURATED = 3.0  # times the best goodput: enough to keep every core busy


def make_graph() -> Graph:
    """A chain with the default plans; in-flight events are bounded as in the daemon."""
    names = ("read", "join", "score")
    last = len(names) - 1
    stages = tuple(
        StageNode(
            name,
            0,
            StagePlan(),
            (number - 1,) if number else (),
            (number + 1,) if number < last else (),
        )
        for number, name in enumerate(names)
    )
    return Graph((PipelineNode("ranker", tuple(range(len(names)))),), stages)


def simulate(
    graph: Graph,
    arrivals: Iterable[Arrival],
    rng: np.random.Generator,
    *,
    admissions: Sequence[Admission | None] = (),
    callers: Callers | None = None,
) -> SimulatedRun:
    """One run of the server."""
    simulator = Simulator(
        Scheduler(graph, admissions),
        COSTS,
        rng,
        callers=callers,
        cores=CORES,
        door_ns=refusal_ns(),
        metered=True,
    )
    return simulator.run(arrivals)


def refusal_ns() -> int:
    """Work of the door for a request that is not served."""
    rows = sum(KIND.rows) / len(KIND.rows)
    served_ns = sum(cost.row_ns * rows + cost.event_ns for cost in COSTS.costs)
    return int(REFUSAL * served_ns)


def find_best_plan(seed: int) -> Found:
    """Every plan of the grids, without admission control."""
    return search_plans(make_graph(), GRIDS, _offer(seed), Target(TARGET_NS), RATE_LOW)


def saturated_rate(found: Found, seed: int) -> float:
    """Answers a second, however late, while every core is busy."""
    run = _offer(seed)(with_plans(make_graph(), found.plans), SATURATED * found.goodput)
    last_ns = int(run.arrived_ns[-1])
    ended_ns = run.arrived_ns + run.latency_ns
    busy = run.answered & (ended_ns > last_ns // 3) & (ended_ns <= last_ns)
    return float(busy.sum()) / (last_ns - last_ns // 3) * SECOND_NS


def _offer(seed: int) -> Callable[[Graph, float], SimulatedRun]:
    def offer(graph: Graph, rate: float) -> SimulatedRun:
        times, kinds, service = np.random.default_rng(seed).spawn(3)
        times_ns = poisson_times_ns(rate, int(rate * SEARCH_S), times)
        return simulate(graph, mixed(times_ns, [KIND], kinds), service)

    return offer
