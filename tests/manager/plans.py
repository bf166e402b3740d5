"""The pipeline and the machines of the tuner's tests: fetch, then rank, 32 rows an event."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sedp.engine.events import NEVER_NS
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.histogram import BOUNDS
from sedp.simulator.arrival import Arrival
from sedp.simulator.service import StageCost
from sedp.simulator.traffic import poisson
from tests.manager.tuned_run import SECOND_NS, Machine

MS = 1_000_000
ROWS = 32
TARGET_NS = next(bound for bound in BOUNDS if bound >= 300 * MS)  # histograms count it exactly


def machine(cores: int = 2, jitter: float = 0.1) -> Machine:
    """One that can answer about 380 events a second with the best plan, on two cores."""
    fetch = StageCost(5 * MS, 20_000.0, jitter=jitter)
    rank = StageCost(20 * MS, 100_000.0, jitter=jitter)
    return Machine((fetch, rank), cores, TARGET_NS)


def chain(*plans: StagePlan) -> Graph:
    """Stages in a row; in-flight is left to the queues."""
    last = len(plans) - 1
    nodes = tuple(
        StageNode(f"s{n}", 0, plan, (n - 1,) if n else (), (n + 1,) if n < last else ())
        for n, plan in enumerate(plans)
    )
    return Graph((PipelineNode("p", tuple(range(len(plans))), 65_536),), nodes)


def phases(
    *rates_s: tuple[float, float], seed: int = 1, due_after_ns: int | None = None
) -> Iterator[Arrival]:
    """Poisson traffic: pairs of events a second and seconds, one after the other.

    Args:
        due_after_ns: the latency target that admission control is told; `None` is none.
    """
    rng = np.random.default_rng(seed)
    start_ns = 0
    for rate_s, seconds in rates_s:
        end_ns = start_ns + round(seconds * SECOND_NS)
        for arrival in poisson(
            rate_s, int(rate_s * seconds * 1.2) + 50, rng, rows=np.array([ROWS])
        ):
            if start_ns + arrival.time_ns >= end_ns:
                break
            time_ns = start_ns + arrival.time_ns
            due_ns = NEVER_NS if due_after_ns is None else time_ns + due_after_ns
            yield Arrival(time_ns, 0, arrival.rows, due_ns=due_ns)
        start_ns = end_ns
