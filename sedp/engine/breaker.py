"""A circuit breaker: a stage that keeps failing is left alone for a while.

Closed, it counts the last runs; when too many of them failed it opens for a pause. Then one run is
let through: if that ends well the breaker closes, else the next pause is twice as long.
Prior art: Nygard, Release It! (2007).
"""

from __future__ import annotations

from collections import deque

from sedp.engine.events import NEVER_NS

RUNS = 20  # the last ones that count
RUNS_MIN = 5  # fewer say nothing
PAUSES_MAX = 32  # a pause grows no longer than this many times the first


class Breaker:
    """That of one stage; pure, told the time.

    Args:
        share: of failed runs in permille at which it opens.
        pause_ns: of the first pause.
    """

    __slots__ = ("_failed", "_pause_ns", "_pause_ns_min", "_probing", "_share", "_until_ns")

    def __init__(self, share: int, pause_ns: int) -> None:
        self._share = share
        self._pause_ns_min = self._pause_ns = pause_ns
        self._failed: deque[bool] = deque(maxlen=RUNS)
        self._until_ns = 0  # of the pause; 0 when closed
        self._probing = False

    @property
    def state(self) -> str:
        if self._probing:
            return "probing"
        return "open" if self._until_ns else "closed"

    def is_open(self, now_ns: int) -> bool:
        """Whether a run must not be started now."""
        return self._until_ns > 0 and (self._probing or now_ns < self._until_ns)

    def started(self) -> None:
        """A run was started, as `is_open` allowed."""
        self._probing = self._until_ns > 0

    def ended(self, now_ns: int, *, failed: bool) -> None:
        """A run ended, or took too long."""
        if self._until_ns:
            if not self._probing:
                return  # it was started before the breaker opened: known by now
            self._probing = False
            self._pause_ns = self._pause_ns * 2 if failed else self._pause_ns_min
            self._pause_ns = min(self._pause_ns, self._pause_ns_min * PAUSES_MAX)
            self._until_ns = now_ns + self._pause_ns if failed else 0
            self._failed.clear()
            return
        self._failed.append(failed)
        runs = len(self._failed)
        if runs >= RUNS_MIN and 1000 * sum(self._failed) >= self._share * runs:
            self._until_ns = min(now_ns + self._pause_ns, NEVER_NS)
