"""How much is asked of the slowest stage: the work of all newcomers, let in or not, by the time."""

from __future__ import annotations

WINDOW_NS = 100_000_000


class Demand:
    """Feed it every newcomer; `load` is of the last full window, 1 keeps the stage just busy."""

    __slots__ = ("_began_ns", "_work_ns", "load")

    def __init__(self) -> None:
        self.load = 0.0
        self._work_ns = 0.0
        self._began_ns = 0

    def observe(self, now_ns: int, work_ns: float) -> None:
        """A newcomer would keep the slowest stage busy for `work_ns`."""
        passed_ns = now_ns - self._began_ns
        if passed_ns >= WINDOW_NS:
            self.load = self._work_ns / passed_ns
            self._work_ns = 0.0
            self._began_ns = now_ns
        self._work_ns += work_ns
