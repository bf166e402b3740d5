"""What a forecast must be multiplied with so that the tail of those let in keeps the target.

A forecast knows nothing of a batch just missed, of times that scatter, of a stage that slows down.
Its error is not measured but closed in a loop: of each event that was let in near the limit we note
which part of its time it really used. When the tail of a window used all of it, the factor is
right; when it used more or less, the factor moves by as much: up at once, down slowly. It is
bounded on both sides: no measurement may close the door for good, or take it off its hinges.

A loop that acts faster than it sees what came of its acts swings. So a window takes only events
that came in after the last move, and lasts for twice the target at least.
"""

from __future__ import annotations

WINDOW_EVENTS = 256  # at least
WINDOW_TARGETS = 2
TAIL = 0.01  # of a window may be later than it should
AIM = 0.95  # of its time that the tail shall use; what is left absorbs the steps of the loop
STEPS = 32  # of the time an event had
USED_MAX = 2.0  # later than that says no more: at most a doubling a window
FALL = 0.25  # of the way down a window: boldness is mended at once, shyness slowly
FACTOR_MIN = 0.5
FACTOR_MAX = 4.0


class Correction:
    """Feed it ended events; read `factor`, which is 1 at first. Args: `target_ns` > 0."""

    __slots__ = ("_counts", "_events", "_moved_ns", "_window_ns", "factor")

    def __init__(self, target_ns: int) -> None:
        self.factor = 1.0
        self._window_ns = target_ns * WINDOW_TARGETS
        self._moved_ns = 0
        self._events = 0
        self._counts = [0] * (int(USED_MAX * STEPS) + 1)

    def observe(self, arrived_ns: int, now_ns: int, used: float) -> None:
        """An event let in near the limit took `used` ≥ 0 of its time; 1 is all of it."""
        if arrived_ns < self._moved_ns:
            return
        step = int(used * STEPS)
        self._counts[min(step, len(self._counts) - 1)] += 1
        self._events += 1
        if self._events >= WINDOW_EVENTS and now_ns - self._moved_ns >= self._window_ns:
            self._move(now_ns)

    def _move(self, now_ns: int) -> None:
        step, above = len(self._counts) - 1, self._counts[-1]
        while above <= self._events * TAIL:
            step -= 1
            above += self._counts[step]
        used = (step + 1) / STEPS / AIM
        change = used if used > 1.0 else 1.0 + (used - 1.0) * FALL
        self.factor = min(max(self.factor * change, FACTOR_MIN), FACTOR_MAX)
        self._moved_ns = now_ns
        self._events = 0
        self._counts = [0] * len(self._counts)
