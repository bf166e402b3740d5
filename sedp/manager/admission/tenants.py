"""Which part of what was let in of late each tenant got, and what a greedy one may still have.

What counts is what came in, not what is inside: a few events of a quiet tenant that happen to be
inside together are no greed. Two windows of events are kept, so they bound the map.
"""

from __future__ import annotations

from math import sqrt

WINDOW_EVENTS = 512
STEEPNESS = 6  # an excess of an eighth halves the limit: what is more is soon refused
SHARE_MIN = 0.15  # of the budget: enough of a backlog to keep all stages busy
SHARE_MIN_CALM = 0.5  # without overload: a short burst is no reason to refuse anybody
CHANCE = 4.0  # standard deviations of a part: nobody has so much more by chance


class TenantShares:
    """Rows let in, by tenant, over the last one to two windows."""

    __slots__ = (
        "_before", "_events", "_events_before", "_now", "_rows", "_rows_before", "count",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = 0  # tenants that came in
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._events = self._rows = self._rows_before = self._events_before = 0

    def entered(self, tenant: int, rows: int) -> None:
        """An event came in."""
        self._now[tenant] = self._now.get(tenant, 0) + rows
        self._rows += rows
        self._events += 1
        if self._events == WINDOW_EVENTS:
            self._before, self._rows_before = self._now, self._rows
            self._events_before = self._events
            self._now = {}
            self._events = self._rows = 0
        self.count = max(len(self._before), len(self._now))

    def limit(self, tenant: int, *, overloaded: bool) -> float:
        """The part of the budget up to which `tenant` is let in: 1 while it is not greedy.

        Who got more than an equal part has the less of it, the more that was: down to a half, or
        nearly to nothing while the pipeline is overloaded, since its demand would then set how
        long everybody waits.
        """
        if self.count < 2:
            return 1.0
        excess = self._rows_of(tenant) * self.count / (self._rows + self._rows_before)
        if excess <= 1.0:
            return 1.0
        return max(excess**-STEEPNESS, SHARE_MIN if overloaded else SHARE_MIN_CALM)

    def is_greedy(self, tenant: int) -> bool:
        """Whether it got more than an equal part, and not by chance."""
        if self.count < 2:
            return False
        all_rows = self._rows + self._rows_before
        part = all_rows / self.count
        event_rows = all_rows / (self._events + self._events_before)
        return self._rows_of(tenant) > part + CHANCE * sqrt(part * event_rows)

    def _rows_of(self, tenant: int) -> int:
        return self._now.get(tenant, 0) + self._before.get(tenant, 0)
