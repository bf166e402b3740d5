"""Bench `isolation`: what `slo.isolate_tenants` gives the others, and costs a greedy tenant.

The server is `controllers_plant`'s, under the virtual clock, so nothing depends on the machine. Ten
tenants ask alike for a while; then one of them for ten times as much, so that all together ask for
a given part of the capacity.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from bench.controllers_plant import (
    LEVELS,
    TARGET_NS,
    find_best_plan,
    make_graph,
    saturated_rate,
    simulate,
)
from bench.controllers_traces import NOISE, NOISY, TENANTS, tenants_trace
from bench.figure import Figure, Goal, make_figure
from bench.progress import tell
from sedp.cores import usable_cores
from sedp.engine.graph import Graph
from sedp.manager.admission.predicted_wait import PredictedWait
from sedp.simulator.search import with_plans

LOADS = (0.3, 0.5, 0.7, 0.95, 1.3)  # of the capacity, all together, while one is greedy
GROWTH = (TENANTS - 1 + NOISE) / TENANTS  # of all they ask for
ROUNDS = 3
MOVED_MAX = Goal(1.2)
LEFT_MIN = Goal(0.99, at_most=False)


@dataclass(frozen=True, slots=True)
class Effect:
    """Of one run.

    Args:
        moved: the others' p99 while one is greedy, by that before.
        others: share of what they ask for then that is answered in time.
        greedy: the same of the greedy one.
    """

    moved: float
    others: float
    greedy: float


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    found = find_best_plan(seed)
    graph, capacity = with_plans(make_graph(), found.plans), saturated_rate(found, seed)
    for_s, rounds = (2.0, 1) if quick else (8.0, ROUNDS)
    cases = list(product(LOADS, (True, False), range(seed, seed + rounds)))
    tell(f"{len(cases)} runs")
    with ProcessPoolExecutor(usable_cores()) as pool:
        effects = dict(
            zip(cases, pool.map(partial(_try, graph, capacity, for_s), cases), strict=True)
        )
    figures = [make_figure("capacity: all cores busy", "req/s", [capacity])]
    for load in LOADS:
        isolated, shared = (
            [effects[load, isolates, dice] for dice in range(seed, seed + rounds)]
            for isolates in (True, False)
        )
        figures += _figures(load, isolated, shared)
    return figures


def _try(graph: Graph, capacity: float, for_s: float, case: tuple[float, bool, int]) -> Effect:
    load, isolates, dice = case
    traffic, draws, service = np.random.default_rng(dice).spawn(3)
    trace = tenants_trace(capacity, for_s, draws, calm=load / GROWTH)
    arrivals = list(trace.arrivals(traffic))
    door = PredictedWait(TARGET_NS, LEVELS, isolates=isolates)
    run = simulate(graph, arrivals, service, admissions=[door])
    is_greedy = np.array([arrival.tenant == NOISY for arrival in arrivals])
    start_ns, end_ns = trace.high_ns
    high = (run.arrived_ns >= start_ns) & (run.arrived_ns < end_ns)
    before, in_time = run.arrived_ns < start_ns, run.in_time(TARGET_NS)
    tails = [
        np.percentile(run.latency_ns[run.answered & ~is_greedy & when], 99)
        for when in (high, before)
    ]
    return Effect(
        float(tails[0] / tails[1]),
        float(in_time[high & ~is_greedy].mean()),
        float(in_time[high & is_greedy].mean()),
    )


def _figures(load: float, isolated: list[Effect], shared: list[Effect]) -> Iterator[Figure]:
    """Isolated, beside what it is without."""
    for field, what, goal in (
        ("moved", "others' p99, by that without the excess", MOVED_MAX),
        ("others", "others' requests in time, of all theirs", LEFT_MIN if load <= 1 else None),
        ("greedy", "greedy tenant's requests in time, of all its", None),
    ):
        yield make_figure(
            f"all ask for {load:g} of the capacity: {what}",
            "×",
            [getattr(one, field) for one in isolated],
            goal=goal,
            anchor="not isolated",
            anchor_rounds=[getattr(one, field) for one in shared],
        )
