"""Whether moves did what they promised, and what not to try again for a while.

A move is judged by events answered in time, before and after. Load may change meanwhile: below
capacity the share answered stays the same, above it the rate does, so only what is worse in both
ways is worse. Moves that brought nothing to speak of are taken back as well: a knob that does
nothing shall not wander.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from sedp.manager.moves import Came, Move, MoveLog, Verdict
from sedp.manager.observation import SECOND_NS, Observation, PipelineSeen, StageKey, share_below

WORSE = 0.95  # of what was answered in time before: taken back whatever the load
WORTH = 1.02  # what a move must bring to stay; windows scatter by one in a hundred
LATE_POWER = 2
FIT_SHARE = 0.05  # decides only where next to nothing is in time
LOAD_SHARE = 0.25  # loads that differ by more are different conditions
LOST_SHARE = 0.005  # of what came; fewer may be lost to a burst without any knob being wrong
TABU_NS = 900 * SECOND_NS
PAUSE_WINDOWS_MAX = 16  # longer ones are `REST_WINDOWS`
REST_WINDOWS = 1024  # a quarter of an hour, as above, with windows of a second
FAILURES_MAX = 4


@dataclass(frozen=True, slots=True)
class Window:
    """One pipeline's part of an observation."""

    seen: PipelineSeen
    window_ns: int

    @property
    def offered_s(self) -> float:
        return self.seen.offered * SECOND_NS / self.window_ns

    @property
    def answered_s(self) -> float:
        return self.seen.answered * SECOND_NS / self.window_ns

    @property
    def in_time_s(self) -> float:
        """Events a second answered within the target."""
        return self.answered_s * share_below(self.seen.latency_ns, self.seen.target_ns)

    @property
    def in_time(self) -> float:
        """The share of the answered ones that were in time, > 0.

        Where wrong knobs make all late it is 0 and flat, so a little of `fit` is added.
        """
        share = share_below(self.seen.latency_ns, self.seen.target_ns)
        return share + FIT_SHARE * fit(self.seen.p99_ns, self.seen.target_ns)

    @property
    def is_losing(self) -> bool:
        return self.seen.lost_share > LOST_SHARE

    @property
    def is_healthy(self) -> bool:
        """The target is met: nothing is to be moved."""
        return not self.is_losing and self.seen.p99_ns <= self.seen.target_ns


def window_of(observation: Observation, pipeline: str) -> Window:
    seen = next(seen for seen in observation.pipelines if seen.name == pipeline)
    return Window(seen, observation.window_ns)


@dataclass(frozen=True, slots=True)
class Trial:
    """Moves made together and not judged yet.

    Args:
        steps: how many of them, the first ones, were chosen; the others follow from them.
    """

    moves: Sequence[Move]
    before: Window
    steps: int

    def judge(self, after: Window) -> Came:
        gain = _gain(self.before, after)
        return Came(
            round(gain, 3),
            round(after.answered_s, 1),
            after.seen.p99_ns,
            self._verdict(gain, after),
        )

    def _verdict(self, gain: float, after: Window) -> Verdict:
        if gain < WORSE:
            return "reverted"
        if not same_load(self.before.offered_s, after.offered_s):
            return "unclear"
        return "kept" if gain >= WORTH else "reverted"


class Untold:
    """Moves that are not judged, as they follow from what is known, until the next window tells."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._before: Window | None = None

    def add(self, moves: Iterable[Move], before: Window) -> None:
        self._numbers += [move.number for move in moves]
        self._before = before

    def tell(self, after: Window, log: MoveLog) -> None:
        """Write down what came; of those that are part of a trial its judgement says more."""
        if self._numbers and self._before is not None:
            came = Trial((), self._before, 0).judge(after)
            if came.verdict != "unclear":
                came = replace(came, verdict="kept")
            log.conclude(self._numbers, came)
            self.forget()

    def forget(self) -> None:
        self._numbers = []


Tried = frozenset[tuple[StageKey, str, bool]]  # steps by stage, knob and whether upwards


def tried(moves: Sequence[Move]) -> Tried:
    """The kind of moves these are, whatever their size."""
    return frozenset((m.key, m.knob, m.after > m.before) for m in moves)  # type: ignore[operator]  # both of one type


class Tabu:
    """Sets of steps that failed, remembered for a while and as long as the load stays the same.

    After `FAILURES_MAX` failures without a success between them nothing is tried at all until
    one is forgotten: what is still promised then, the model cannot deliver. That bounds the
    memory, too.
    """

    def __init__(self) -> None:
        self._failed: dict[Tried, tuple[int, float]] = {}

    def fail(self, what: Tried, now_ns: int, offered_s: float) -> None:
        self._failed[what] = now_ns + TABU_NS, offered_s

    def succeed(self, gain: float) -> None:
        """Where much has changed, what failed before may work now."""
        if gain >= 1 + LOAD_SHARE:
            self._failed.clear()

    def forget(self, now_ns: int, offered_s: float) -> None:
        """Drop what is no longer true."""
        self._failed = {
            what: (until_ns, then_s)
            for what, (until_ns, then_s) in self._failed.items()
            if now_ns < until_ns and same_load(then_s, offered_s)
        }

    @property
    def is_resting(self) -> bool:
        return len(self._failed) >= FAILURES_MAX

    def allows(self, what: Tried) -> bool:
        """Whether no part of it has failed: one knob more does not make failed ones good."""
        return not any(failed <= what for failed in self._failed)


class Pause:
    """How long to let things be after a look that led to little: twice as long each time.

    The same load promises the same again, and noise would be followed for ever: after half a
    minute of such looks the knobs stay. A load, or a rate of answers in time, that is no longer
    the same ends the pause.
    """

    def __init__(self) -> None:
        self._length = 1
        self._left = 0
        self._then: Window | None = None

    def holds(self, now: Window) -> bool:
        """Whether this look is to be left out."""
        then = self._then
        if then is not None and not (
            same_load(then.offered_s, now.offered_s) and same_load(then.in_time_s, now.in_time_s)
        ):
            self._length, self._left, self._then = 1, 0, None
        self._left -= 1
        return self._left >= 0

    def lengthen(self, now: Window) -> None:
        self._length = 2 * self._length if self._length < PAUSE_WINDOWS_MAX else REST_WINDOWS
        self._left, self._then = self._length, now


def fit(p99_ns: float, target_ns: float) -> float:
    """A smooth stand-in for the share answered in time, > 0 and ≤ 1.

    Under load latencies lie close together: with the p99 a quarter above the target, half are late.
    """
    return min(1.0, target_ns / max(1.0, p99_ns)) ** LATE_POWER


def same_load(before_s: float, after_s: float) -> bool:
    return abs(after_s - before_s) <= LOAD_SHARE * before_s


def _gain(before: Window, after: Window) -> float:
    rate = after.answered_s / max(before.answered_s, 1e-9)
    share_before = before.answered_s / max(before.offered_s, 1e-9)
    share_after = after.answered_s / max(after.offered_s, 1e-9)
    return max(rate, share_after / max(share_before, 1e-9)) * after.in_time / before.in_time
