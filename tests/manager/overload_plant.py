"""A server that can be overloaded, in virtual time: a ranker of three stages on two cores.

The live scheduler, runs that share the cores, and a door whose refusals take them away: each costs
`REFUSAL` of what a served request does, so at m times the capacity `(1 - r·m) / (1 - r)` is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sedp.engine.admission import Admission
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.callers import Retriers, RetryHabit
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.search import Target, find_goodput
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.shapes import SECOND_NS
from sedp.simulator.traffic import RequestKind, mixed, poisson_times_ns

MS = 1_000_000
LEVELS = (0.05, 0.35, 0.6)  # shares of requests
CORES = 2
REFUSAL = 0.01  # r
ROWS = (40, 70, 90, 100, 110, 130, 160)
NODES = (
    StageNode("read", 0, StagePlan(1, 400), (), (1,)),
    StageNode("join", 0, StagePlan(1, 800), (0,), (2,)),
    StageNode("score", 0, StagePlan(3, 400), (1,), ()),
)
GRAPH = Graph((PipelineNode("ranker", (0, 1, 2)),), NODES)


@dataclass(frozen=True)
class Plant:
    """The server; `slowness` stretches all its times, and with them the target."""

    slowness: int = 1
    target_ns: int = field(init=False)
    kind: RequestKind = field(init=False)
    service: LinearService = field(init=False)
    door_ns: int = field(init=False)

    def __post_init__(self) -> None:
        slow, target_ns = self.slowness, self.slowness * 20 * MS
        costs = (
            StageCost(100_000 * slow, row_ns=2000 * slow, event_ns=60_000 * slow, jitter=0.2),
            StageCost(50_000 * slow, row_ns=500 * slow, jitter=0.2),
            StageCost(400_000 * slow, row_ns=8000 * slow, jitter=0.2),
        )
        served_ns = sum(cost.row_ns * float(np.mean(ROWS)) + cost.event_ns for cost in costs)
        object.__setattr__(self, "target_ns", target_ns)
        object.__setattr__(self, "kind", RequestKind(ROWS, target_ns=target_ns, levels=LEVELS))
        object.__setattr__(self, "service", LinearService(costs))
        object.__setattr__(self, "door_ns", int(REFUSAL * served_ns))

    def serve(
        self,
        admission: Admission | None,
        arrivals: Sequence[Arrival],
        *,
        habit: RetryHabit | None = None,
        every_100_ms: Callable[[], None] = lambda: None,
    ) -> SimulatedRun:
        """All arrivals and their ends; `habit` is that of callers who ask again."""

        def tick(now_ns: int) -> tuple[()]:
            every_100_ms()
            return ()

        return Simulator(
            Scheduler(GRAPH, [admission]),
            self.service,
            np.random.default_rng(1),
            callers=Retriers(habit, np.random.default_rng(2)) if habit else None,
            cores=CORES,
            door_ns=self.door_ns,
            ticks=(100 * MS, tick),
            metered=True,
        ).run(arrivals)

    @cache  # noqa: B019 (a plant is a constant, and there are two)
    def peak(self) -> float:
        """The greatest rate at which 99 of 100 are answered in time without admission control."""
        target = Target(self.target_ns)

        def holds(rate: float) -> bool:
            return target.holds(self.serve(None, self._steady(rate)))

        return find_goodput(holds, 800.0 / self.slowness)

    @cache  # noqa: B019
    def capacity(self) -> float:
        """Answers a second, however late, while every core is busy; more than the peak."""
        run = self.serve(None, self._steady(4000.0 / self.slowness))
        last_ns = int(run.arrived_ns[-1])
        ended_ns = run.arrived_ns + run.latency_ns
        busy = run.answered & (ended_ns > last_ns // 3) & (ended_ns <= last_ns)
        return float(busy.sum()) / (last_ns - last_ns // 3) * SECOND_NS

    def in_time(self, run: SimulatedRun) -> NDArray[np.bool_]:
        return run.in_time(self.target_ns)

    def p99(self, run: SimulatedRun, chosen: NDArray[np.bool_]) -> float:
        """Of those answered among the chosen, by the target."""
        return float(np.quantile(run.latency_ns[chosen & run.answered], 0.99)) / self.target_ns

    def goodput(self, run: SimulatedRun, start_ns: int, end_ns: int) -> float:
        """Of those that arrive from `start_ns` to `end_ns`, answers in time a second."""
        there = arrived(run, start_ns, end_ns)
        return float(self.in_time(run)[there].sum()) * SECOND_NS / (end_ns - start_ns)

    def _steady(self, rate: float) -> list[Arrival]:
        rng = np.random.default_rng(3)
        times_ns = poisson_times_ns(rate, int(rate * 2 * self.slowness), rng)
        return list(mixed(times_ns, [self.kind], rng))


def arrived(run: SimulatedRun, start_ns: int, end_ns: int) -> NDArray[np.bool_]:
    """bool[n]: arrived from `start_ns` to `end_ns`."""
    return (run.arrived_ns >= start_ns) & (run.arrived_ns < end_ns)


def bound(times: float) -> float:
    """Share of the capacity that is left when `times` as much is asked for."""
    return (1 - REFUSAL * times) / (1 - REFUSAL)
