"""Search for the best static plan: every plan of a grid, under a target for a latency percentile.

A plan's *goodput* is the greatest rate of offered requests at which the percentile of the latency
keeps the target; what is refused counts as infinitely late. Each plan is first tried a little
above the best goodput so far: one run tells of most plans that they are no better. So the search
is exhaustive to within `STEP`, and costs little more than a run a plan.

The one assumption: a plan that fails at some rate fails at every higher one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from sedp.engine.graph import Graph, StagePlan
from sedp.simulator.ledger import SimulatedRun

STEP = 0.02  # goodputs are found to within this part of them
DOUBLINGS_MAX = 20  # a millionfold of the lowest rate: then the grid has no limit to find

Plans = tuple[StagePlan, ...]  # one a stage
Offer = Callable[[Graph, float], SimulatedRun]  # a graph with its plans, requests a second


@dataclass(frozen=True, slots=True)
class Target:
    """What a run has to keep.

    Args:
        latency_ns: limit of the percentile.
        percentile: 0 to 100.
    """

    latency_ns: int
    percentile: float = 99.0

    def holds(self, run: SimulatedRun) -> bool:
        """Whether enough of the arrivals were answered in time."""
        return float(run.in_time(self.latency_ns).mean()) >= self.percentile / 100


@dataclass(frozen=True, slots=True)
class Trial:
    """One step of the search: a plan at a rate, and whether it kept the target."""

    plans: Plans
    rate: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a search comes to.

    Args:
        plans: the best ones; of equals the first.
        goodput: of the best plans, requests a second; 0 when none keeps the target.
        path: every trial, in order.
    """

    plans: Plans
    goodput: float
    path: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class PlanGrid:
    """The knobs of one stage that are tried: every combination of these values."""

    concurrency: tuple[int, ...] = (1,)
    batch_rows_max: tuple[int, ...] = (1024,)
    batch_wait_ns: tuple[int, ...] = (0,)
    queue_rows_max: tuple[int, ...] = (16_384,)

    def plans(self) -> Iterator[StagePlan]:
        for knobs in itertools.product(
            self.concurrency, self.batch_rows_max, self.batch_wait_ns, self.queue_rows_max
        ):
            yield StagePlan(*knobs)


def with_plans(graph: Graph, plans: Sequence[StagePlan]) -> Graph:
    """The same graph with a plan for each stage."""
    stages = [
        msgspec.structs.replace(node, plan=plan)
        for node, plan in zip(graph.stages, plans, strict=True)
    ]
    return msgspec.structs.replace(graph, stages=tuple(stages))


def search_plans(
    graph: Graph, grids: Sequence[PlanGrid], offer: Offer, target: Target, rate: float
) -> Found:
    """Try every combination of plans.

    Args:
        grids: one for each stage of the graph.
        offer: simulates traffic of a rate, the same for the same rate.
        rate: the lowest of interest; a plan that fails there is worth nothing.
    """
    path: list[Trial] = []
    best: Plans = ()
    goodput = 0.0
    for plans in itertools.product(*(grid.plans() for grid in grids)):
        tried = with_plans(graph, plans)

        def holds(rate: float, plans: Plans = plans, tried: Graph = tried) -> bool:
            path.append(Trial(plans, rate, target.holds(offer(tried, rate))))
            return path[-1].holds

        found = find_goodput(holds, goodput * (1 + STEP) or rate)
        if found or not best:
            best, goodput = plans, found
    return Found(best, goodput, tuple(path))


def find_goodput(holds: Callable[[float], bool], rate: float) -> float:
    """The greatest rate that holds, to within `STEP`; 0 when not even `rate` does."""
    if not holds(rate):
        return 0.0
    for _ in range(DOUBLINGS_MAX):
        if not holds(2 * rate):
            break
        rate *= 2
    low, high = rate, 2 * rate
    while high > low * (1 + STEP):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
