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


class Outcome(enum.IntEnum):
    """How an event ended. Every arrived event ends exactly once."""

    ANSWERED = 0
    QUEUE_FULL = 1  # refused at the door: no room in a first queue, or too many in flight
    DEADLINE = 2  # passed while waiting or running, or could no longer be met
    CANCELLED = 3  # the caller left
    FAILED = 4  # a stage raised on it
    DRAINING = 5  # refused at the door: the daemon is stopping


class Stimulus(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Something that happened."""


class Arrived(Stimulus, frozen=True):
    """A caller asks: `rows` item rows (≥ 1) for `pipeline`, wanted before `deadline_ns`.

    With `more` set the next stimulus is the arrival of another one that came at the same time:
    no batch is started before they are all in, so that they can share one.
    """

    event: int
    pipeline: int
    rows: int
    deadline_ns: int = NEVER_NS
    more: bool = False


class Cancelled(Stimulus, frozen=True):
    """The caller of `event` is gone; unknown or ended events are ignored."""

    event: int


class BatchFinished(Stimulus, frozen=True):
    """A run ended; `failed` when the stage raised."""

    batch: int
    failed: bool = False


class TimerFired(Stimulus, frozen=True):
    """A timer set for `stage` (or `DEADLINE_TIMER`) is due."""

    stage: int


class PlanChanged(Stimulus, frozen=True):
    """New knobs for `stage`, valid from the next decision on."""

    stage: int
    plan: StagePlan


class DrainBegan(Stimulus, frozen=True):
    """Refuse newcomers; finish what is in."""


DEADLINE_TIMER = -1  # the one timer that belongs to no stage: it sweeps for passed deadlines


class Command(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Something the driver must do."""


class RunBatch(Command, frozen=True):
    """Run `stage` on `events`, joined in this order; answer with `BatchFinished(batch)`."""

    batch: int
    stage: int
    events: tuple[int, ...]


class SetTimer(Command, frozen=True):
    """Send `TimerFired(stage)` at `due_ns`. Timers are never revoked; a stale one is harmless."""

    stage: int
    due_ns: int


class Finish(Command, frozen=True):
    """Tell the callers of `events` how they ended. `stage` is where, or -1 at the door."""

    events: tuple[int, ...]
    outcome: Outcome
    stage: int = -1


AnyStimulus = Arrived | Cancelled | BatchFinished | TimerFired | PlanChanged | DrainBegan
AnyCommand = RunBatch | SetTimer | Finish
