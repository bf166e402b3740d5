"""Demand beyond capacity on promo-rank-cut under a virtual clock: cut, or with dropping alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from bench.candidate_cut_delivered import Asked, Delivered, Judge
from bench.candidate_cut_quality import CONFIG, RAM_BYTES, Judged
from bench.stage_costs import fit_service
from sedp.columns import Array, Batch, Level
from sedp.config.loading import load
from sedp.engine.admission import Admission
from sedp.engine.scheduler import Scheduler
from sedp.manager.admission.registry import make_admission
from sedp.payload import Payload
from sedp.pipeline import Pipeline, compile_graph
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import Receive, StageExecution
from sedp.simulator.loop import Simulator
from sedp.simulator.traffic import poisson_times_ns
from sedp.stage import Resources
from sedp.stages.candidate_cut import FixedShare
from sedp.stages.cut_logs import find_cut
from sedp.storage.store import ParameterStore

CORES = 2
SATURATING_S = 20_000.0  # requests a second
SETTLING_S = 0.3  # at the start of a run, not counted: the pressure is still to be found


class Demand:
    """The two pipelines, opened, and the requests to be sent."""

    def __init__(self, cut: Pipeline, uncut: Pipeline, judged: Judged) -> None:
        self._pipelines = {True: cut, False: uncut}
        self._judged = judged
        self._requests = [_request(cut, judged, row) for row in range(len(judged.recording))]
        self._judge = Judge(judged, cut.target_ns)
        cut_at = 1 + [bound.name for bound in cut.stages].index(find_cut(cut)[0])
        self._service = fit_service(cut, self._requests, lambda payload: rows_left(payload, cut_at))

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, judged: Judged) -> Iterator[Demand]:
        """Loads the config twice; in the second the cut is left alone at any pressure."""
        pipelines = [load(CONFIG, {"DATA_DIR": str(folder)}).pipelines[0] for _ in range(2)]
        _, cut = find_cut(pipelines[1])
        never = FixedShare(start=9.9, to=10.0, least=1.0)
        cut.params = msgspec.structs.replace(cut.params, share=never)
        with ParameterStore.open(folder / "store", ram_bytes=RAM_BYTES, read_only=True) as store:
            for pipeline in pipelines:
                for bound in pipeline.stages:
                    bound.use.stage.open(Resources(CONFIG.parent, 1, store))
            yield cls(pipelines[0], pipelines[1], judged)

    def capacity(self, seconds: float) -> float:
        """Requests a second, uncut, when far more are asked than can be answered."""
        asked = self._simulate(SATURATING_S, seconds, 0, cut=False, admission=None)
        return sum(one.answer is not None for one in asked) / seconds

    def run(self, rate: float, seconds: float, seed: int, *, cut: bool) -> Delivered:
        """So many requests a second, whether or not those before are answered."""
        pipeline = self._pipelines[cut]
        admission = make_admission("predicted_wait", pipeline.target_ns, pipeline.levels)
        return self._judge.judge(self._simulate(rate, seconds, seed, cut=cut, admission=admission))

    def _simulate(
        self, rate: float, seconds: float, seed: int, *, cut: bool, admission: Admission | None
    ) -> list[Asked]:
        """What came of all requests but those that come while pressure is still to be found."""
        pipeline = self._pipelines[cut]
        answers: dict[int, Mapping[str, Array]] = {}

        def receive(event: int, columns: Mapping[str, Array], degraded: tuple[str, ...]) -> None:
            answers[event] = columns

        execution = CutExecution(pipeline, receive)
        scheduler = Scheduler(compile_graph([pipeline]), [admission])
        rng = np.random.default_rng(seed)
        simulator = Simulator(scheduler, self._service, rng, execution=execution, cores=CORES)
        due_ns = poisson_times_ns(rate, round(rate * (SETTLING_S + seconds)), rng).tolist()
        drawn = rng.integers(len(self._requests), size=len(due_ns)).tolist()
        run = simulator.run(self._arrivals(pipeline, due_ns, drawn))
        return [
            Asked(drawn[number], float(run.latency_ns[number]), answers.get(number))
            for number, time_ns in enumerate(due_ns)
            if time_ns >= SETTLING_S * 1e9
        ]

    def _arrivals(
        self, pipeline: Pipeline, due_ns: Sequence[int], drawn: Sequence[int]
    ) -> Iterator[Arrival]:
        for time_ns, number in zip(due_ns, drawn, strict=True):
            request = self._requests[number]
            yield Arrival(
                time_ns,
                0,
                request.row_count,
                request,
                deadline_ns=time_ns + pipeline.deadline_ns,
                due_ns=time_ns + pipeline.target_ns,
            )


class CutExecution(StageExecution):
    """Tells the service model how many rows are left of events that were cut."""

    def __init__(self, pipeline: Pipeline, receive: Receive) -> None:
        super().__init__([pipeline], receive)
        names = [bound.name for bound in pipeline.stages]
        self._cut_at = 1 + names.index(find_cut(pipeline)[0])

    def rows_of(self, events: Sequence[int]) -> int:
        return sum(rows_left(self._inside[event][1], self._cut_at) for event in events)


def rows_left(payload: Payload, cut_at: int) -> int:
    """Rows that the next stage will work on."""
    place = payload.places[cut_at]
    if place is None:
        return payload.rows
    chunk, at = place
    rows = slice(*chunk.splits[at : at + 2])
    return int(np.count_nonzero(chunk["kept"][rows]))


def _request(pipeline: Pipeline, judged: Judged, row: int) -> Batch:
    first, stop = judged.splits[row : row + 2]
    columns = {
        name: judged.recording.columns[name][
            slice(first, stop) if tensor.column.level is Level.ITEM else slice(row, row + 1)
        ]
        for name, tensor in pipeline.inputs.items()
    }
    return Batch(columns, np.array([0, stop - first]))
