"""An event on its way: what the scheduler remembers of one request."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from sedp.engine.events import Arrived


class Event:
    """Mutable and slotted: one is made per request and touched a few times per stage.

    Invariants: `queued` has the bit of each stage in whose queue the event waits; `running`
    counts batches (running, or set aside to run again) that hold it. An ended event keeps its
    place in its pipeline's in-flight count until `running` is 0, since until then it holds memory.
    """

    __slots__ = (
        "arrived_ns",
        "deadline_ns",
        "due_ns",
        "ended",
        "id",
        "joins",
        "level",
        "pipeline",
        "queued",
        "rows",
        "running",
        "stages_left",
        "tenant",
    )

    def __init__(self, arrived: Arrived, now_ns: int, stage_count: int) -> None:
        self.id = arrived.event
        self.pipeline = arrived.pipeline
        self.rows = arrived.rows
        self.deadline_ns = arrived.deadline_ns
        self.due_ns = arrived.due_ns
        self.level = arrived.level
        self.tenant = arrived.tenant
        self.arrived_ns = now_ns
        self.stages_left = stage_count
        self.queued = 0
        self.running = 0
        self.ended = False
        self.joins: dict[int, Join] | None = None

    def join_at(self, stage: int, branches: int) -> Join:
        """The meeting point of this event's branches at `stage`, made on first use."""
        if self.joins is None:
            self.joins = {}
        join = self.joins.get(stage)
        if join is None:
            join = self.joins[stage] = Join(branches)
        return join


class Join:
    """How many branches of an event have yet to start, and to end, before a stage may take it."""

    __slots__ = ("unfinished", "unstarted")

    def __init__(self, branches: int) -> None:
        self.unstarted = branches
        self.unfinished = branches


_ID = attrgetter("id")


def numbers_of(events: Sequence[Event]) -> tuple[int, ...]:
    """What the driver knows events by."""
    return tuple(map(_ID, events))
