"""An overload in virtual time: the live scheduler, deterministic runs, Poisson arrivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sedp.engine.admission import Admission
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.engine.stage_state import PipelineState
from sedp.simulator.arrival import Arrival
from sedp.simulator.faults import Faults
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost

MS = 1_000_000
SECOND = 1_000_000_000
TARGET = 20 * MS
ROWS = 100


@dataclass(frozen=True, slots=True)
class Machine:
    """A chain of stages with the same plan; `capacity` is in requests of `ROWS` rows a second."""

    costs: tuple[StageCost, ...]
    plan: StagePlan
    capacity: float = field(init=False)

    def __post_init__(self) -> None:
        events = self.plan.batch_rows_max // ROWS
        batch_ns = max(c.fixed_ns + c.row_ns * ROWS * events for c in self.costs)
        object.__setattr__(self, "capacity", self.plan.concurrency * events * SECOND / batch_ns)

    def graph(self) -> Graph:
        last = len(self.costs) - 1
        nodes = tuple(
            StageNode(f"s{i}", 0, self.plan, (i - 1,) if i else (), (i + 1,) if i < last else ())
            for i in range(len(self.costs))
        )
        return Graph((PipelineNode("chain", tuple(range(len(nodes))), 1 << 20),), nodes)

    def serve(
        self,
        admission: Admission | None,
        arrivals: Sequence[Arrival],
        *,
        seed: int = 1,
        faults: Faults | None = None,
        every_ms: Callable[[int, PipelineState], None] | None = None,
    ) -> SimulatedRun:
        """All arrivals and their ends; `every_ms` is called with the time and the state."""

        scheduler = Scheduler(self.graph(), [admission])

        def tick(now_ns: int) -> tuple[()]:
            if every_ms is not None:
                every_ms(now_ns, scheduler._flow.pipelines[0])
            return ()

        service, rng = LinearService(self.costs), np.random.default_rng(seed)
        ticks = (MS, tick) if every_ms is not None else None
        return Simulator(scheduler, service, rng, faults=faults, ticks=ticks, metered=True).run(
            arrivals
        )


ONE_STAGE = Machine((StageCost(0, row_ns=10_000),), StagePlan(2, ROWS, 0, 1 << 20))
THREE_STAGES = Machine(
    (StageCost(100_000, 2000), StageCost(100_000, 5000), StageCost(50_000, 1000)),
    StagePlan(2, 4 * ROWS, 0, 1 << 20),
)


def poisson(
    phases: Sequence[tuple[float, int]],
    *,
    seed: int = 2,
    levels: int = 1,
    users: int = 1,
    tenant: int = 0,
) -> list[Arrival]:
    """Arrivals of phases `(requests a second, nanoseconds)` one after the other."""
    return list(_poisson(phases, np.random.default_rng(seed), levels, users, tenant))


def _poisson(
    phases: Sequence[tuple[float, int]],
    rng: np.random.Generator,
    levels: int,
    users: int,
    tenant: int,
) -> Iterator[Arrival]:
    start_ns = 0
    for rate, length_ns in phases:
        count = rng.poisson(rate * length_ns / SECOND)
        times_ns = np.sort(rng.integers(start_ns, start_ns + length_ns, count))
        start_ns += length_ns
        for time_ns, level, user in zip(
            times_ns.tolist(),
            rng.integers(1, levels + 1, count).tolist(),
            rng.integers(0, users, count).tolist(),
            strict=True,
        ):
            yield Arrival(
                time_ns,
                0,
                ROWS,
                due_ns=time_ns + TARGET,
                level=level,
                user=user,
                tenant=tenant,
            )


def goodput(run: SimulatedRun, from_ns: int, until_ns: int) -> float:
    """Requests a second, of those that arrived in a time, answered within the target."""
    there = (run.arrived_ns >= from_ns) & (run.arrived_ns < until_ns)
    return float((run.in_time(TARGET) & there).sum()) * SECOND / (until_ns - from_ns)


def p99_ns(run: SimulatedRun, from_ns: int, until_ns: int) -> float:
    """The 99th percentile of the latency of those that arrived in a time and were answered."""
    there = (run.arrived_ns >= from_ns) & (run.arrived_ns < until_ns)
    return float(np.quantile(run.latency_ns[there & run.answered], 0.99))
