"""What a forecast must be multiplied with so that the tail of those let in keeps the target.

A forecast knows nothing of a batch just missed, of times that scatter, of a stage that slows down.
Its error is not measured but closed in a loop: of each event that was let in near the limit we note
which part of its time it really used. When the tail of a window used all of it, the factor is
right; when it used more or less, the factor moves: by as much and at once when that is more than
chance puts into a tail of so few, else slowly. It is bounded on both sides: no measurement may
close the door for good, or take it off its hinges.

The tail is that of all who were let in, since theirs is what is promised; but those far from the
limit count for no more than some near it, or a long calm would excuse any lateness after it.

A loop that acts faster than it sees what came of its acts swings. So a window takes only events
that came in after the last move, and lasts for twice the target at least.
"""

from __future__ import annotations

WINDOW_EVENTS = 256  # at least
WINDOW_TARGETS = 2
TAIL = 0.01  # of those let in may be later than they should
AIM = 0.95  # of its time that the tail shall use; what is left absorbs the steps of the loop
STEPS = 32  # of the time an event had
USED_MAX = 2.0  # later than that says no more: at most a doubling a window
EASY_MAX = 2  # of those far from the limit count, for each near it
CHANCE = 1.15  # the tail of a window may use so much by chance alone
GAIN = 0.25  # of the way a window, within that
FACTOR_MIN = 0.5
FACTOR_MAX = 4.0


class Correction:
    """Feed it ended events; read `factor`, which is 1 at first. Args: `target_ns` > 0."""

    __slots__ = ("_counts", "_easy", "_events", "_moved_ns", "_window_ns", "factor")

    def __init__(self, target_ns: int) -> None:
        self.factor = 1.0
        self._window_ns = target_ns * WINDOW_TARGETS
        self._moved_ns = 0
        self._events = self._easy = 0
        self._counts = [0] * (int(USED_MAX * STEPS) + 1)

    def observe(self, arrived_ns: int, now_ns: int, used: float) -> None:
        """An event took `used` of its time, 1 is all; 0 if it was let in far from the limit."""
        if arrived_ns < self._moved_ns:
            return
        if not used:
            self._easy += 1
            return
        step = int(used * STEPS)
        self._counts[min(step, len(self._counts) - 1)] += 1
        self._events += 1
        if self._events >= WINDOW_EVENTS and now_ns - self._moved_ns >= self._window_ns:
            self._move(now_ns)

    def _move(self, now_ns: int) -> None:
        late = (self._events + min(self._easy, self._events * EASY_MAX)) * TAIL
        step, above = len(self._counts) - 1, self._counts[-1]
        while above <= late:
            step -= 1
            above += self._counts[step]
        used = (step + 0.5) / STEPS / AIM
        change = used if used > CHANCE else 1.0 + (used - 1.0) * GAIN
        self.factor = min(max(self.factor * change, FACTOR_MIN), FACTOR_MAX)
        self._moved_ns = now_ns
        self._events = self._easy = 0
        self._counts = [0] * len(self._counts)
