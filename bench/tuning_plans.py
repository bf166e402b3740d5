"""Plans of promo-rank: the best static one, by trying all on the simulator, and wrong ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.candidate_cut_quality import RAM_BYTES
from bench.served import CONFIG
from bench.stage_costs import fit_service
from sedp.columns import Batch, Level
from sedp.config.loading import load
from sedp.engine.graph import Graph, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.pipeline import Pipeline, compile_graph
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.recording import Recording
from sedp.simulator.search import Found, PlanGrid, Target, search_plans
from sedp.simulator.service import LinearService
from sedp.simulator.traffic import poisson
from sedp.stage import Resources
from sedp.storage.store import ParameterStore

ROWS_MAX = 256  # of a request: far more than a visit has, and the least that a queue may hold
QUEUE_ROWS = 16_384
SEARCH_S = 0.5  # of simulated time a trial
RATE_LOW = 50.0  # a second: what the worst plan can do
FITTED = 400  # requests
CORES = max(1, len(os.sched_getaffinity(0)) - 1)  # one is the client's
MS = 1_000_000

WRONG = {
    "batches of one request": StagePlan(2, 1, 0, QUEUE_ROWS),
    "waiting for company": StagePlan(2, 4096, 10 * MS, QUEUE_ROWS),
    "far too many slots": StagePlan(16, 64, 0, QUEUE_ROWS),
    "tiny queues": StagePlan(1, 32, 0, ROWS_MAX),
    "huge queues, huge batches": StagePlan(1, 65_536, 0, 1 << 20),
}

Plans = Sequence[StagePlan]


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor nanoseconds of a request in the daemon, stages and all.

    Args:
        together_ns: with the shipped plans, where many share a run.
        alone_ns: where each has runs of its own.
    """

    together_ns: float
    alone_ns: float


class SimulatedServer:
    """promo-rank's stages at the costs that they have here.

    Args:
        folder: of the demo's data.
        recording: visits like those that will be asked.
    """

    def __init__(self, folder: Path, recording: Recording) -> None:
        [self.pipeline] = load(CONFIG, {"DATA_DIR": str(folder)}).pipelines
        self._rows = np.diff(recording.splits)
        requests = [_request(self.pipeline, recording, row) for row in range(FITTED)]
        with ParameterStore.open(folder / "store", ram_bytes=RAM_BYTES, read_only=True) as store:
            for bound in self.pipeline.stages:
                bound.use.stage.open(Resources(CONFIG.parent, 1, store))
            self._stages = fit_service(self.pipeline, requests)

    @property
    def shipped(self) -> Plans:
        """The config's plans."""
        return [bound.use.plan for bound in self.pipeline.stages]

    @property
    def alone(self) -> Plans:
        """Every request for itself."""
        return [StagePlan(1, 1, 0, QUEUE_ROWS)] * len(self.pipeline.stages)

    def find_best(self, rows: tuple[int, ...], target_ns: int, spent: Spent, seed: int) -> Found:
        """The best static plan of all combinations of batch sizes, with one slot a stage or two."""
        service = self._in_daemon(spent)
        graph = compile_graph([self.pipeline])

        def offer(graph: Graph, rate: float) -> SimulatedRun:
            arrivals, service_dice = np.random.default_rng(seed).spawn(2)
            requests = poisson(rate, int(rate * SEARCH_S) + 50, arrivals, rows=self._rows)
            simulator = Simulator(Scheduler(graph), service, service_dice, cores=CORES)
            return simulator.run(requests)

        found = []
        for concurrency in (1, 2):
            grid = PlanGrid((concurrency,), rows, (0,), (QUEUE_ROWS,))
            grids = [grid] * len(self.pipeline.stages)
            found.append(search_plans(graph, grids, offer, Target(target_ns), RATE_LOW))
        return max(found, key=lambda one: one.goodput)

    def _in_daemon(self, spent: Spent) -> LinearService:
        """With what the daemon adds: to each run of a stage, and to a request at the door."""
        costs, rows = self._stages.costs, float(self._rows.mean())
        run_ns = max(0.0, spent.alone_ns - spent.together_ns) / len(costs)
        costs = tuple(replace(cost, fixed_ns=max(cost.fixed_ns, round(run_ns))) for cost in costs)
        known_ns = sum(cost.fixed_ns + cost.event_ns + cost.row_ns * rows for cost in costs)
        door_ns = max(0.0, spent.alone_ns - known_ns)
        first = replace(costs[0], event_ns=costs[0].event_ns + door_ns)
        return LinearService((first, *costs[1:]))


def set_plans(document: dict[str, Any], pipeline: str, plans: Plans) -> None:
    """Write plans into a config, one a stage in its order."""
    stages = document["pipelines"][pipeline]["stages"]
    for stage, plan in zip(stages.values(), plans, strict=True):
        stage["concurrency"] = plan.concurrency
        stage["batch"] = {"rows_max": plan.batch_rows_max, "wait": f"{plan.batch_wait_ns // MS}ms"}
        stage["queue_rows_max"] = plan.queue_rows_max


def _request(pipeline: Pipeline, recording: Recording, row: int) -> Batch:
    first, stop = recording.splits[row : row + 2]
    columns = {
        name: recording.columns[name][
            slice(first, stop) if tensor.column.level is Level.ITEM else slice(row, row + 1)
        ]
        for name, tensor in pipeline.inputs.items()
    }
    return Batch(columns, np.array([0, stop - first]))
