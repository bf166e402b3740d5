"""Twice the demand that fits uncut, under the virtual clock: the cut, and what it saves.

A pipeline of preview, cut, and two costly stages, its admission and scheduler as they serve; only
time is a model. The cut is a loop: what it leaves decides how fast the stages behind it are, that
decides the pressure, and the pressure decides how deep it cuts. With the shares that ship it swings
little enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.manager.admission.registry import make_admission
from sedp.pipeline import Pipeline, StageUse, compile_graph, compile_pipeline
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import StageExecution
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson_times_ns
from sedp.stage import Params, Stage
from sedp.stages.candidate_cut import CandidateCut
from tests.stages.lone_stage import make_stage

MS = 1_000_000
TARGET_NS = 50 * MS
RUN_NS = 800 * MS
SETTLED_NS = 200 * MS  # of a run, before which nothing is judged
RATE_UNCUT = 1_300  # requests a second that two cores can answer when all is kept
ROWS = (100, 800)
LEAST = 0.05
LATE = {"from": 0.2, "to": 0.4}
NEVER = {"from": 9.9, "to": 10.0}  # pressures that are not met
CUT = 1  # its place in the pipeline
COSTS = (
    StageCost(100_000, row_ns=100, event_ns=1_000, jitter=0.1),
    StageCost(50_000, row_ns=10, event_ns=1_000, jitter=0.1),
    StageCost(300_000, row_ns=1_000, event_ns=20_000, jitter=0.1),
    StageCost(300_000, row_ns=2_000, event_ns=20_000, jitter=0.1),
)


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


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a run once it was settled.

    Args:
        in_time: share of all requests that were answered within the target.
        p99_ns: of the answered.
        kept: share of the candidates of the answered.
    """

    in_time: float
    p99_ns: float
    kept: float


def pipeline_with(**share: float) -> Pipeline:
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


def demand(factor: float, seed: int, **share: float) -> Course:
    """So many times what two cores can answer uncut."""
    rng = np.random.default_rng(seed)
    rate = factor * RATE_UNCUT
    times_ns = poisson_times_ns(rate, round(rate * RUN_NS / 1e9), rng).tolist()
    low, high = np.log(ROWS)
    rows = np.exp(rng.uniform(low, high, len(times_ns))).astype(int).tolist()
    kept: dict[int, float] = {}

    def receive(event: int, columns: Mapping[str, Array], degraded: Sequence[str]) -> None:
        kept[event] = float(np.mean(columns["score"] > 0))

    def arrivals() -> Iterator[Arrival]:
        for time_ns, count in zip(times_ns, rows, strict=True):
            relevance = rng.random(count, np.float32) + np.float32(1)
            request = Batch({"relevance": relevance}, np.array([0, count]))
            deadline_ns, due_ns = time_ns + 4 * TARGET_NS, time_ns + TARGET_NS
            yield Arrival(time_ns, 0, count, request, deadline_ns=deadline_ns, due_ns=due_ns)

    pipeline = pipeline_with(**share)
    run = Simulator(
        Scheduler(compile_graph([pipeline]), [make_admission("predicted_wait", TARGET_NS, 1)]),
        LinearService(COSTS),
        np.random.default_rng(seed),
        execution=Narrowed([pipeline], receive),
        cores=2,
    ).run(arrivals())
    settled = [event for event, time_ns in enumerate(times_ns) if time_ns >= SETTLED_NS]
    latency_ns = np.array([run.latency_ns[event] for event in settled if event in kept])
    return Course(
        float(np.count_nonzero(latency_ns <= TARGET_NS)) / len(settled),
        float(np.quantile(latency_ns, 0.99)),
        float(np.mean([kept[event] for event in settled if event in kept])),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_request_is_answered_in_time_at_twice_the_demand(seed: int) -> None:
    course = demand(2.0, seed)
    assert course.in_time == 1.0
    assert course.p99_ns < TARGET_NS / 2  # it does not swing up to the target, and back
    assert course.kept > 0.2  # no deeper than was needed


def test_nearly_nothing_is_cut_at_half_of_what_fits() -> None:
    course = demand(0.5, 1)
    assert course.in_time == 1.0
    assert course.kept > 0.9


def test_a_cut_that_begins_late_swings_nearly_up_to_the_target() -> None:
    course = demand(2.0, 1, **LATE)
    assert course.p99_ns > 0.75 * TARGET_NS


def test_without_the_cut_half_of_the_requests_are_dropped() -> None:
    course = demand(2.0, 1, **NEVER)
    assert course.kept == 1.0
    assert 0.4 < course.in_time < 0.6
