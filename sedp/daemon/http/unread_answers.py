"""Answers that wait in memory because their callers are slow to read them, bounded in bytes.

Nobody else is refused for them: when there are too many bytes, the caller who has not read for the
longest is cut off.
"""

from __future__ import annotations

from collections.abc import Callable

CutOff = Callable[[], None]


class UnreadAnswers:
    """Of one listener."""

    __slots__ = ("_waiting", "callers_cut", "held")

    def __init__(self) -> None:
        self.held = 0
        self.callers_cut = 0
        self._waiting: dict[CutOff, int] = {}  # oldest first

    def add(self, cut_off: CutOff, answer_bytes: int, bytes_max: int) -> None:
        """An answer waits; callers who have waited longer are cut off until all fit.

        Args:
            cut_off: ends the connection of the answer's caller; one that waits once at a time.
            bytes_max: for all that wait; the newest alone may be larger.
        """
        self._waiting[cut_off] = answer_bytes
        self.held += answer_bytes
        while self.held > bytes_max and len(self._waiting) > 1:
            slowest = next(iter(self._waiting))
            self.remove(slowest)
            self.callers_cut += 1
            slowest()

    def remove(self, cut_off: CutOff) -> None:
        """It was read, or its caller is gone; the same once more is nothing."""
        self.held -= self._waiting.pop(cut_off, 0)
