"""How much of a crowded pipeline one tenant may hold.

While there is room everybody comes in. Once a pipeline is more than half full, a tenant may hold
only its share of it: by weight, among the tenants that asked in the last seconds. So a flood of one
fills its own share and no other's. A tenant that is alone leaves an eighth free, for whoever comes
next finds room while the shares are drawn anew.

Pure: the clock is passed. Every call costs the same, however many tenants there are.
"""

from __future__ import annotations

from collections import Counter

CROWDED_PART = 0.5  # of in_flight_max; below it a share would only leave room unused
NEWCOMERS_PART = 0.125
ACTIVE_NS = 5_000_000_000  # since its last request, a tenant keeps its claim to a share
NOTE_NS = ACTIVE_NS // 16  # noting every request would double the price of a look at the share


class FairShare:
    """The room in one pipeline.

    Args:
        in_flight_max: events that the pipeline takes at once.
    """

    def __init__(self, in_flight_max: int) -> None:
        self.in_flight_max = in_flight_max
        self.held: Counter[str] = Counter()  # by tenant
        self._inside = 0
        self._seen: dict[str, tuple[int, float]] = {}  # last asked, weight; the longest ago first
        self._weights = 0.0  # of all in _seen

    def enter(self, tenant: str, weight: float, now_ns: int) -> bool:
        """Whether one more of `tenant` may come in; it must `leave` then."""
        self._note(tenant, weight, now_ns)
        if self._inside >= self.in_flight_max * CROWDED_PART:
            room = self.in_flight_max * (1 - NEWCOMERS_PART)
            share = min(room, self.in_flight_max * weight / self._weights)
            if self.held[tenant] + 1 > max(share, 1):
                return False
        self.held[tenant] += 1
        self._inside += 1
        return True

    def leave(self, tenant: str) -> None:
        self._inside -= 1
        self.held[tenant] -= 1
        if not self.held[tenant]:
            del self.held[tenant]

    def _note(self, tenant: str, weight: float, now_ns: int) -> None:
        """Count `tenant` among the active, and those no more who have been silent."""
        if tenant in self._seen and now_ns - self._seen[tenant][0] < NOTE_NS:
            return
        _, before = self._seen.pop(tenant, (0, 0.0))
        self._seen[tenant] = now_ns, weight
        self._weights += weight - before
        while True:
            oldest, (seen_ns, its_weight) = next(iter(self._seen.items()))
            if now_ns - seen_ns <= ACTIVE_NS:
                return
            del self._seen[oldest]
            if self.held[oldest]:  # it is inside, so it is active
                self._seen[oldest] = now_ns, its_weight
            else:
                self._weights -= its_weight
