"""How hard it has been of late to come in: what a look at the queues does not tell.

A forecast sees what stands in queues now. Where most are refused there is little in them, and time
that is lost before a request is read, or between two stages, leaves nothing there: the door is
nearly shut, and whoever looks a moment later finds the pipeline idle. So strain is told by the
newcomers themselves, those who are refused included. The part of them for whom it was hard is added
up, window by window, and what was there before fades.

It rises within two windows and falls in some thirty, so that what was left out comes back a little
at a time: all at once it would bring the trouble back. A window lasts long enough to show what the
one before has changed; without either both would swing.
"""

from __future__ import annotations

HARD = 0.5  # of where newcomers are refused: the next burst comes that far
RARE = 0.02  # of the newcomers; for so many it is hard now and then at a load that is easily borne
GAIN = 0.25
FADE = 0.95  # a window
WINDOW_TARGETS = 2
WINDOW_EVENTS = 32  # at least


class Strain:
    """Feed it every newcomer; read `level`, 0 to 1. Args: `target_ns` > 0."""

    __slots__ = ("_events", "_hard", "_moved_ns", "_window_ns", "level")

    def __init__(self, target_ns: int) -> None:
        self.level = 0.0
        self._window_ns = WINDOW_TARGETS * target_ns
        self._moved_ns = 0
        self._events = self._hard = 0

    def observe(self, now_ns: int, need: float) -> None:
        """A newcomer had need of so much; from 1 on it is refused."""
        self._events += 1
        self._hard += need > HARD
        if self._events >= WINDOW_EVENTS and now_ns - self._moved_ns >= self._window_ns:
            self._move(now_ns)

    def _move(self, now_ns: int) -> None:
        self.level *= FADE ** ((now_ns - self._moved_ns) / self._window_ns)
        share = self._hard / self._events
        if share > RARE:
            self.level = min(self.level + GAIN * share, 1.0)
        self._moved_ns = now_ns
        self._events = self._hard = 0
