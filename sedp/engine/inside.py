"""The events inside, and how they end: answered, failed, given up by their callers, or too late.

An event is inside from admission until it has ended and no run holds it: until then it takes up
memory, and counts as in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sedp.engine.event import Event, numbers_of
from sedp.engine.events import (
    DEADLINE_TIMER,
    NEVER_NS,
    AnyCommand,
    Finish,
    Outcome,
    SetTimer,
)
from sedp.engine.stage_state import PipelineState, StageState

SWEEP_GAP_NS = 5_000_000  # least time between two deadline sweeps: bounds their cost, not a caller

Commands = list[AnyCommand]


class Inside:
    """All events of a scheduler.

    Args:
        unblock: told of a stage whose queue has more room.
    """

    def __init__(
        self,
        pipelines: Sequence[PipelineState],
        unblock: Callable[[StageState, int, Commands], None],
    ) -> None:
        self.events: dict[int, Event] = {}
        self._pipelines = pipelines
        self._unblock = unblock
        self._sweep_ns = NEVER_NS

    def add(self, event: Event) -> None:
        """An event was admitted."""
        self.events[event.id] = event
        self._pipelines[event.pipeline].in_flight += 1

    def mind(self, deadline_ns: int, out: Commands) -> None:
        """Sweep at `deadline_ns`, if not before."""
        if deadline_ns < self._sweep_ns:
            self._sweep_ns = deadline_ns
            out.append(SetTimer(DEADLINE_TIMER, deadline_ns))

    def sweep(self, now_ns: int, out: Commands) -> None:
        """End every event whose deadline has passed, wherever it is."""
        if now_ns < self._sweep_ns:
            return  # a stale timer
        live = [event for event in self.events.values() if not event.ended]
        late = [event for event in live if event.deadline_ns <= now_ns]
        next_ns = min((e.deadline_ns for e in live if e.deadline_ns > now_ns), default=NEVER_NS)
        self._sweep_ns = max(next_ns, now_ns + SWEEP_GAP_NS) if next_ns < NEVER_NS else NEVER_NS
        if self._sweep_ns < NEVER_NS:
            out.append(SetTimer(DEADLINE_TIMER, self._sweep_ns))
        if late:
            self.end(late, Outcome.DEADLINE, None, now_ns, out)

    def end(
        self,
        events: list[Event],
        outcome: Outcome,
        stage: StageState | None,
        now_ns: int,
        out: Commands,
        *,
        timed_out: bool = False,
    ) -> None:
        """Tell the callers that there is no answer, and take the events out of every queue."""
        live = [event for event in events if not event.ended]
        if live:
            number = -1 if stage is None else stage.number
            out.append(Finish(numbers_of(live), outcome, number, timed_out))
        for event in live:
            event.ended = True
            pipeline = self._pipelines[event.pipeline]
            pipeline.outcomes[outcome] += 1
            if pipeline.admission is not None:
                pipeline.admission.ended(now_ns, event, outcome)
            self.forget_if_idle(event)
        self._withdraw(live, now_ns, out)

    def answer(
        self, events: list[Event], pipeline: PipelineState, now_ns: int, out: Commands
    ) -> None:
        """Tell the callers of live events of one pipeline, which wait nowhere any more."""
        out.append(Finish(numbers_of(events), Outcome.ANSWERED))
        pipeline.outcomes[Outcome.ANSWERED] += len(events)
        admission, record = pipeline.admission, pipeline.latency_ns.record
        for event in events:
            event.ended = True
            if admission is not None:
                admission.ended(now_ns, event, Outcome.ANSWERED)
            record(now_ns - event.arrived_ns)
            self.forget_if_idle(event)

    def _withdraw(self, events: list[Event], now_ns: int, out: Commands) -> None:
        """Take ended events out of the queues they wait in, and wake who waits for the room."""
        roomier: list[StageState] = []
        for event in events:
            for stage in self._pipelines[event.pipeline].stages:
                if event.queued & stage.bit:
                    stage.queue.discard(event)
                    roomier.append(stage)
            event.queued = 0
        # Only now wake others: they must not meet an ended event that still counts rows.
        for stage in roomier:
            self._unblock(stage, now_ns, out)

    def forget_if_idle(self, event: Event) -> None:
        if event.running == 0:
            del self.events[event.id]
            self._pipelines[event.pipeline].in_flight -= 1
