"""Mode *execute*: the stages are really run, through the same hand-over as in the daemon.

A run computes when it starts, and its results become visible when the loop says it has ended: an
event that is cancelled meanwhile is computed in vain, as it is live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sedp.columns import Array
from sedp.engine.events import Outcome
from sedp.operator import Operator
from sedp.payload import Payload, answer
from sedp.pipeline import Pipeline
from sedp.simulator.arrival import Arrival

Receive = Callable[[int, Mapping[str, Array]], None]


class StageExecution:
    """Implements the loop's `Execution`: all operators, and the payloads of the events inside.

    Args:
        pipelines: in the order of the graph, their stages opened.
        receive: gets event number and output columns of each answered event.
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

    def admit(self, event: int, arrival: Arrival) -> None:
        request = arrival.request
        assert request is not None, "an arrival needs its columns where stages are really run"
        assert request.row_count == arrival.rows, "an arrival's rows must be those of its columns"
        pipeline = self._pipelines[arrival.pipeline]
        self._inside[event] = pipeline, Payload(request, len(pipeline.stages))

    def run(self, stage: int, events: Sequence[int]) -> bool:
        payloads = [self._inside[event][1] for event in events]
        try:
            self._operators[stage].run(payloads)
        except Exception:  # that it did is all the scheduler may know
            return False
        return True

    def finish(self, event: int, outcome: Outcome) -> None:
        pipeline, payload = self._inside.pop(event)
        if outcome is Outcome.ANSWERED:
            self._receive(event, answer(pipeline, payload))
