"""Demand beyond capacity on promo-rank-cut under a virtual clock: cut, or with dropping alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.candidate_cut_quality import CONFIG, RAM_BYTES, TOP, Judged, top_rows
from sedp.columns import Array, Batch, Level
from sedp.config.loading import load
from sedp.engine.admission import Admission
from sedp.engine.scheduler import Scheduler
from sedp.manager.admission.registry import make_admission
from sedp.operator import Operator
from sedp.payload import Moment, Payload
from sedp.pipeline import Pipeline, compile_graph
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import Receive, StageExecution
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson_times_ns
from sedp.stage import Resources
from sedp.stages.candidate_cut import FixedShare
from sedp.stages.cut_logs import find_cut
from sedp.storage.store import ParameterStore

CORES = 2
SATURATING_S = 20_000.0  # requests a second
SETTLING_S = 0.3  # at the start of a run, not counted: the pressure is still to be found
FIT_RUNS = 180
FIT_EVENTS = (1, 3, 8, 20)
FIT_PRESSURES = (0, 1000)  # permille: uncut, and cut as deep as may be
DISCOUNTS = 1 / np.log2(np.arange(2, TOP + 2))
WORTH = np.arange(TOP, 0, -1)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of the requests of one run, shares in 0..1.

    Args:
        in_time: answered within the target.
        loss: mean 1 - NDCG@10 of the answered.
        purchases_lost: of those in the full ranking's ten best, among the answered.
        kept: candidates that got a full score, of all candidates of the answered.
        delivered: mean NDCG@10 of all requests, 0 for one not answered in time.
    """

    in_time: float
    p99_ms: float
    loss: float
    purchases_lost: float
    kept: float
    delivered: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, what its full ranking shows, and how long it took."""

    request: int
    latency_ns: float
    answer: Mapping[str, Array] | None


class Demand:
    """The two pipelines, opened, and the requests to be sent."""

    def __init__(self, cut: Pipeline, uncut: Pipeline, judged: Judged) -> None:
        self._pipelines = {True: cut, False: uncut}
        self._judged = judged
        self._requests = [_request(cut, judged, row) for row in range(len(judged.recording))]
        self._best = top_rows(judged.full, judged.splits)
        shown = np.minimum(judged.rows, TOP)
        self._best_ends = np.concatenate([[0], np.cumsum(shown)])
        self._service = fit_service(cut, self._requests)

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
        return self._judge(self._simulate(rate, seconds, seed, cut=cut, admission=admission))

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

    def _judge(self, asked: list[Asked]) -> Delivered:
        target_ns = self._pipelines[True].target_ns
        answered = [one for one in asked if one.answer is not None]
        quality = {id(one): self._ndcg(one) for one in answered}
        in_time = [one for one in answered if one.latency_ns <= target_ns]
        bought = np.array([self._bought(one) for one in answered]).sum(axis=0)
        rows = sum(len(one.answer["score"]) for one in answered if one.answer is not None)
        kept = sum(
            int(np.count_nonzero(one.answer["score"])) for one in answered if one.answer is not None
        )
        return Delivered(
            in_time=len(in_time) / len(asked),
            p99_ms=float(np.quantile([one.latency_ns for one in answered], 0.99)) / 1e6,
            loss=1 - sum(quality.values()) / len(answered),
            purchases_lost=1 - float(bought[0] / bought[1]),
            kept=kept / rows,
            delivered=sum(quality[id(one)] for one in in_time) / len(asked),
        )

    def _shown(self, one: Asked) -> tuple[list[int], list[int]]:
        """Rows of the recording, best first: those answered, and those of the full ranking."""
        assert one.answer is not None
        first = int(self._judged.splits[one.request])
        shown = [first + place for place in one.answer["rank"][0].tolist() if place >= 0]
        ends = self._best_ends[one.request : one.request + 2]
        return shown, self._best[ends[0] : ends[1]].tolist()

    def _ndcg(self, one: Asked) -> float:
        shown, best = self._shown(one)
        worth = dict(zip(best, WORTH.tolist(), strict=False))
        reached = sum(
            worth.get(row, 0) * discount
            for row, discount in zip(shown, DISCOUNTS.tolist(), strict=False)
        )
        return float(reached / (WORTH * DISCOUNTS)[: len(best)].sum())

    def _bought(self, one: Asked) -> tuple[int, int]:
        assert self._judged.recording.label is not None
        label = self._judged.recording.label
        shown, best = self._shown(one)
        return int(label[shown].sum()), int(label[best].sum())


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


def fit_service(pipeline: Pipeline, requests: Sequence[Batch]) -> LinearService:
    """What runs of each stage cost here: processor time over runs, events and rows."""
    operators = [Operator(bound, at) for at, bound in enumerate(pipeline.stages)]
    cut_at = 1 + [bound.name for bound in pipeline.stages].index(find_cut(pipeline)[0])
    samples: list[list[tuple[float, ...]]] = [[] for _ in operators]
    for turn in range(FIT_RUNS):
        events = FIT_EVENTS[turn % len(FIT_EVENTS)]
        pressure = FIT_PRESSURES[turn // len(FIT_EVENTS) % len(FIT_PRESSURES)]
        payloads = [
            Payload(requests[(turn * 7 + at) % len(requests)], len(operators))
            for at in range(events)
        ]
        for operator, sample in zip(operators, samples, strict=True):
            rows = sum(rows_left(payload, cut_at) for payload in payloads)
            started_ns = time.process_time_ns()
            operator.run(payloads, Moment(pressure=pressure))
            sample.append((1.0, events, rows, time.process_time_ns() - started_ns))
    return LinearService(tuple(_fit_stage(np.array(sample)) for sample in samples))


def _fit_stage(sample: NDArray[np.float64]) -> StageCost:
    """Least squares relative to the time itself, of costs that are not negative."""
    known = sample[len(sample) // 4 :]  # the first ones pay for what is done once
    inputs, taken = known[:, :3] / known[:, 3:], np.ones(len(known))
    used = np.ones(3, np.bool_)
    costs = np.zeros(3)
    while used.any():  # at most three times: each drops a cost
        costs = np.zeros(3)
        costs[used] = np.linalg.lstsq(inputs[:, used], taken)[0]
        if (costs >= 0).all():
            break
        used &= costs > 0
    return StageCost(int(costs[0]), row_ns=float(costs[2]), event_ns=float(costs[1]))


def _request(pipeline: Pipeline, judged: Judged, row: int) -> Batch:
    first, stop = judged.splits[row : row + 2]
    columns = {
        name: judged.recording.columns[name][
            slice(first, stop) if tensor.column.level is Level.ITEM else slice(row, row + 1)
        ]
        for name, tensor in pipeline.inputs.items()
    }
    return Batch(columns, np.array([0, stop - first]))
