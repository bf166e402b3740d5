"""Stimuli (what happened) and commands (what to do): the scheduler's whole vocabulary.

Events, batches and stages are named by integers, so both sides can be written to a log and a
replayed log must give the same commands. Times are integer nanoseconds of one monotonic clock:
with float seconds a timer can fire and still be "not yet due" by rounding, for ever.
"""

from __future__ import annotations

import enum

import msgspec

from sedp.engine.graph import StagePlan

NEVER_NS = 2**63 - 1
NO_BATCH = -1  # a timer of a stage, not of one of its runs


class Outcome(enum.IntEnum):
    """How an event ended. Every arrived event ends exactly once."""

    ANSWERED = 0
    QUEUE_FULL = 1  # refused at the door: no room in a first queue, or too many in flight
    DEADLINE = 2  # passed while waiting or running, or could no longer be met
    CANCELLED = 3  # the caller left
    FAILED = 4  # a stage raised on it
    DRAINING = 5  # refused at the door: the daemon is stopping
    SHED = 6  # refused at the door, or dropped in a first queue: would not be answered in time
    UNAVAILABLE = 7  # a stage's breaker is open, and it has no fallback
    QUARANTINED = 8  # this very request has failed too often; said by the front door alone


class Stimulus(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Something that happened; like commands not traced by the collector, as it holds numbers."""


class Arrived(Stimulus, frozen=True):
    """A caller asks: `rows` item rows (≥ 1) for `pipeline`, wanted before `deadline_ns`.

    With `more` set others come at the same time: the first stages start their batches no sooner
    than when they hear `Gathered`, or of an arrival without it, so that all can share one.

    Args:
        due_ns: when the pipeline's latency target is used up, ≤ `deadline_ns`; never without one.
        level: its priority, 1 is the highest.
        user: 0 to 127, a hash of the user, so that the same ones are served while load lasts.
        tenant: whose it is; 0 where nobody asks.
    """

    event: int
    pipeline: int
    rows: int
    deadline_ns: int = NEVER_NS
    due_ns: int = NEVER_NS
    level: int = 1
    user: int = 0
    tenant: int = 0
    more: bool = False


class Gathered(Stimulus, frozen=True):
    """Those that came at the same time are all in."""


class Cancelled(Stimulus, frozen=True):
    """The caller of `event` is gone; unknown or ended events are ignored."""

    event: int


class BatchFinished(Stimulus, frozen=True):
    """A run ended; `failed` when the stage raised.

    `worked_ns` is how long the stage worked, where that is known to be less than the time since the
    command: runs on an event loop wait there for each other.
    """

    batch: int
    failed: bool = False
    worked_ns: int = 0


class TimerFired(Stimulus, frozen=True):
    """A timer set for `stage` (or `DEADLINE_TIMER`), or for a run of it, is due."""

    stage: int
    batch: int = NO_BATCH


class PlanChanged(Stimulus, frozen=True):
    """New knobs for `stage`, valid from the next decision on."""

    stage: int
    plan: StagePlan


class LimitChanged(Stimulus, frozen=True):
    """At most so many events of `pipeline` inside, from the next arrival on."""

    pipeline: int
    in_flight_max: int


class DrainBegan(Stimulus, frozen=True):
    """Refuse newcomers; finish what is in."""


DEADLINE_TIMER = -1  # the one timer that belongs to no stage: it sweeps for passed deadlines


class Command(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Something the driver must do."""


class RunBatch(Command, frozen=True):
    """Run `stage` on `events`, joined in this order; answer with `BatchFinished(batch)`.

    `pressure` is what the stage may be told of the load, in permille; see `Admission.pressure`.
    """

    batch: int
    stage: int
    events: tuple[int, ...]
    pressure: int = 0


class FallBack(Command, frozen=True):
    """Give `events` the columns that stand for those of `stage`, which will not come.

    `failed` says that a run of these very events raised or took too long; else none was tried.
    """

    stage: int
    events: tuple[int, ...]
    failed: bool = False


class Abandon(Command, frozen=True):
    """The result of a run is not wanted any more; its `BatchFinished` still is."""

    batch: int


class SetTimer(Command, frozen=True):
    """Send `TimerFired(stage, batch)` at `due_ns`. Never revoked; a stale one is harmless."""

    stage: int
    due_ns: int
    batch: int = NO_BATCH


class Finish(Command, frozen=True):
    """Tell the callers of `events` how they ended. `stage` is where, or -1 at the door.

    `timed_out` says of a passed deadline that it was the stage's: a run of theirs took too long.
    """

    events: tuple[int, ...]
    outcome: Outcome
    stage: int = -1
    timed_out: bool = False


AnyStimulus = (
    Arrived
    | Gathered
    | Cancelled
    | BatchFinished
    | TimerFired
    | PlanChanged
    | LimitChanged
    | DrainBegan
)
AnyCommand = RunBatch | FallBack | Abandon | SetTimer | Finish
