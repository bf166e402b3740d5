"""Demand on a pipeline of preview, cut, and two costly stages, where only time is a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.manager.admission.registry import make_admission
from sedp.pipeline import Pipeline, StageUse, compile_graph, compile_pipeline
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import StageExecution
from sedp.simulator.loop import Simulator
from sedp.simulator.service import ServiceModel
from sedp.simulator.traffic import poisson_times_ns
from sedp.stage import Params, Stage
from sedp.stages.candidate_cut import CandidateCut
from tests.stages.lone_stage import make_stage

MS = 1_000_000
TARGET_NS = 50 * MS
ROWS = (100, 800)
LEAST = 0.05
CUT = 1  # its place in the pipeline


class Copy(Stage):
    """Passes a score on under another name."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(Params())
        self.source, self.target = source, target

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {self.source: ColumnSpec("FP32", Level.ITEM)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.target: ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {self.target: batch[self.source]}


def pipeline_with(share: Mapping[str, float]) -> Pipeline:
    """An empty `share` is the default."""
    cut = make_stage(CandidateCut, score={"column": "cheap"}, share={"least": LEAST, **share})
    plan = StagePlan(batch_rows_max=8192, queue_rows_max=1 << 17)
    uses = {
        "preview": StageUse(Copy("relevance", "cheap"), plan=plan),
        "cut": StageUse(cut, plan=plan),
        "features": StageUse(Copy("cheap", "feature"), plan=plan, after=("cut",)),
        "score": StageUse(Copy("feature", "score"), plan=plan),
    }
    inputs = {"relevance": TensorSpec.parse("FP32[n]")}
    outputs = {"score": TensorSpec.parse("FP32[n]")}
    return compile_pipeline("cut", inputs, outputs, uses)


class Narrowed(StageExecution):
    """Tells the service model how many rows the stages behind the cut work on."""

    def rows_of(self, events: Sequence[int]) -> int:
        return sum(self._rows(event) for event in events)

    def _rows(self, event: int) -> int:
        payload = self._inside[event][1]
        place = payload.places[1 + CUT]
        if place is None:
            return payload.rows
        chunk, at = place
        return int(np.count_nonzero(chunk["kept"][slice(*chunk.splits[at : at + 2])]))


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a run once it was settled.

    Args:
        in_time: share of all requests that were answered within the target.
        p99_ns: of the answered.
        kept: share of the candidates of the answered.
        kept_by_time: the same, of every 100 ms.
    """

    in_time: float
    p99_ns: float
    kept: float
    kept_by_time: tuple[float, ...]


def offer(
    rate: float,
    seed: int,
    run_ns: int,
    settled_ns: int,
    service: ServiceModel,
    simulator: type[Simulator] = Simulator,
    share: Mapping[str, float] | None = None,
    **more: Any,
) -> Course:
    """Requests of independent callers, `rate` a second.

    Args:
        settled_ns: of a run, before which nothing is judged.
        more: for the simulator.
    """
    rng = np.random.default_rng(seed)
    times_ns = poisson_times_ns(rate, round(rate * run_ns / 1e9), rng).tolist()
    low, high = np.log(ROWS)
    rows = np.exp(rng.uniform(low, high, len(times_ns))).astype(int).tolist()
    kept = np.full(len(rows), np.nan)

    def receive(event: int, columns: Mapping[str, Array], degraded: Sequence[str]) -> None:
        kept[event] = np.mean(columns["score"] > 0)

    def arrivals() -> Iterator[Arrival]:
        for time_ns, count in zip(times_ns, rows, strict=True):
            relevance = rng.random(count, np.float32) + np.float32(1)
            request = Batch({"relevance": relevance}, np.array([0, count]))
            deadline_ns, due_ns = time_ns + 4 * TARGET_NS, time_ns + TARGET_NS
            yield Arrival(time_ns, 0, count, request, deadline_ns=deadline_ns, due_ns=due_ns)

    pipeline = pipeline_with(share or {})
    run = simulator(
        Scheduler(compile_graph([pipeline]), [make_admission("predicted_wait", TARGET_NS, 1)]),
        service,
        np.random.default_rng(seed),
        execution=Narrowed([pipeline], receive),
        **more,
    ).run(arrivals())
    asked = np.array(times_ns) >= settled_ns
    answered = asked & ~np.isnan(kept)
    latency_ns = np.array(run.latency_ns)[answered]
    spans = np.array(times_ns)[answered] // (100 * MS)
    return Course(
        np.count_nonzero(latency_ns <= TARGET_NS) / np.count_nonzero(asked),
        float(np.quantile(latency_ns, 0.99)),
        float(np.mean(kept[answered])),
        tuple(float(np.mean(kept[answered][spans == span])) for span in np.unique(spans)),
    )
