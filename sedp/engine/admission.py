"""The doorman: whether an event may come in. Decided from counters alone, before any work."""

from __future__ import annotations

from sedp.engine.events import Outcome
from sedp.engine.stage_state import PipelineState


def refusal(pipeline: PipelineState, rows: int, draining: bool) -> Outcome | None:
    """Why an event of `rows` rows must stay outside, or `None` to let it in.

    All first queues must have room: an event enters everywhere or nowhere (SEDA's all-or-none
    enqueue).
    """
    if draining:
        return Outcome.DRAINING
    if pipeline.in_flight >= pipeline.node.in_flight_max:
        return Outcome.QUEUE_FULL
    for stage in pipeline.entries:
        if stage.queue.room_rows(rows) < rows:
            return Outcome.QUEUE_FULL
    return None
