"""How much is asked of the slowest stage: the work of all newcomers, let in or not, by the time."""

from __future__ import annotations

WINDOW_NS = 100_000_000
FLOOD = 2.0  # windows of work end a window before its time: an overload is known while it begins


class Demand:
    """Feed it every newcomer; loads are of the last full window, 1 keeps the stage just busy.

    Attributes:
        load: of all newcomers.
        first_load: of those of the first level.
    """

    __slots__ = ("_began_ns", "_first_ns", "_work_ns", "first_load", "load")

    def __init__(self) -> None:
        self.load = 0.0
        self.first_load = 0.0
        self._work_ns = 0.0
        self._first_ns = 0.0
        self._began_ns = 0

    def observe(self, now_ns: int, work_ns: float, *, is_first: bool) -> bool:
        """A newcomer would keep the slowest stage busy for `work_ns`; whether loads are new."""
        passed_ns = now_ns - self._began_ns
        is_over = passed_ns >= WINDOW_NS or self._work_ns > FLOOD * WINDOW_NS
        if is_over:
            self.load = self._work_ns / max(passed_ns, 1)
            self.first_load = self._first_ns / max(passed_ns, 1)
            self._work_ns = self._first_ns = 0.0
            self._began_ns = now_ns
        self._work_ns += work_ns
        if is_first:
            self._first_ns += work_ns
        return is_over
