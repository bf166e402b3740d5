"""The doorman's port: whether an event may come in, and for how long it may wait.

The engine itself refuses what has no room; an `Admission` refuses what room there is for, but not
enough time. Its decisions are pure: it is told the time, and reads the pipeline's state. A pipeline
without one admits whatever there is room for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sedp.engine.events import Arrived, Outcome

if TYPE_CHECKING:
    from sedp.engine.event import Event
    from sedp.engine.stage_state import PipelineState


class Admission(Protocol):
    """The admission control of one pipeline; called on one thread."""

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        """Why a newcomer must stay outside, or `None`; room has been checked before."""

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        """Events that have waited longer in a first queue are dropped; asked once a batch."""

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None:
        """A batch of `events` events was started, the oldest of which waited `wait_ns`."""

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        """An admitted event ended."""

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        """Predicted latency of a usual newcomer by the target, in permille; 0 is idle."""


def lacks_room(pipeline: PipelineState, rows: int, others: int = 0) -> bool:
    """Whether an event of `rows` rows has no place beside `others`, counted from levels alone.

    All first queues must have room: an event enters everywhere or nowhere (SEDA's all-or-none
    enqueue).
    """
    if pipeline.in_flight + others >= pipeline.in_flight_max:
        return True
    for stage in pipeline.entries:
        queue = stage.queue
        if queue.rows and queue.rows + rows > queue.rows_max:  # an empty one takes any event
            return True
    return False
