"""Mode *execute*: the stages are really run, through the same hand-over as in the daemon.

A run computes when it starts, and hands its results out when the loop says it has ended: an event
that is cancelled meanwhile, or a run that is abandoned, was computed in vain, as it is live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sedp.columns import Array, Batch
from sedp.engine.events import FallBack, Outcome, RunBatch
from sedp.operator import Operator
from sedp.payload import Moment, Payload, answer
from sedp.pipeline import Pipeline
from sedp.simulator.arrival import Arrival

Receive = Callable[[int, Mapping[str, Array], tuple[str, ...]], None]


class StageExecution:
    """Implements the loop's port `Execution`: all operators, and the payloads of the events inside.

    Args:
        pipelines: in the order of the graph, their stages opened.
        receive: gets event number and output columns of each answered event, and the names of
            the stages whose part in it is a fallback.
    """

    def __init__(self, pipelines: Sequence[Pipeline], receive: Receive) -> None:
        self._operators = [
            Operator(stage, position)
            for pipeline in pipelines
            for position, stage in enumerate(pipeline.stages)
        ]
        self._pipelines = pipelines
        self._receive = receive
        self._inside: dict[int, tuple[Pipeline, Payload]] = {}
        self._results: dict[int, tuple[Operator, Batch, list[Payload]]] = {}  # by batch

    def admit(self, event: int, arrival: Arrival) -> None:
        request = arrival.request
        assert request is not None, "an arrival needs its columns where stages are really run"
        assert request.row_count == arrival.rows, "an arrival's rows must be those of its columns"
        pipeline = self._pipelines[arrival.pipeline]
        stages = len(pipeline.stages)
        payload = Payload(request, stages, arrival.due_ns, arrival.tenant)
        self._inside[event] = pipeline, payload

    def rows_of(self, events: Sequence[int]) -> int:
        return sum(self._inside[event][1].rows for event in events)

    def run(self, now_ns: int, run: RunBatch) -> bool:
        operator, payloads = self._operators[run.stage], self._payloads(run.events)
        try:
            chunk = operator.compute(payloads, Moment(now_ns, run.pressure))
        except Exception:  # that it did is all the scheduler may know
            return False
        self._results[run.batch] = operator, chunk, payloads
        return True

    def end(self, batch: int) -> None:
        result = self._results.pop(batch, None)
        if result is not None:
            operator, chunk, payloads = result
            operator.hand_out(chunk, payloads)

    def abandon(self, batch: int) -> None:
        self._results.pop(batch, None)

    def fall_back(self, fallback: FallBack) -> None:
        self._operators[fallback.stage].stand_in(self._payloads(fallback.events))

    def finish(self, events: Sequence[int], outcome: Outcome) -> None:
        for event in events:
            pipeline, payload = self._inside.pop(event)
            if outcome is Outcome.ANSWERED:
                self._receive(event, answer(pipeline, payload), payload.degraded)

    def _payloads(self, events: Sequence[int]) -> list[Payload]:
        return [self._inside[event][1] for event in events]
