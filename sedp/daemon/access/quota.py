"""What each tenant uses, against what it may: requests and bytes a second, requests inside at once.

A rate is a bucket that one second fills. It is kept as one number, the time at which all that was
let in is paid for; a bucket is empty when that lies a second ahead. (Known as GCRA, from ATM
networks: I.371, https://www.itu.int/rec/T-REC-I.371.) A body may be larger than what is left, as
its length may be known only later; the tenant then waits until it is paid for.

Pure: the clock is passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableSequence
from dataclasses import dataclass

from sedp.config.security_settings import TenantSettings

SECOND = 1_000_000_000
UNLIMITED = TenantSettings()
RETRY_NS = SECOND  # where it is not known when there will be room


@dataclass(frozen=True, slots=True)
class TenantStatistics:
    """`in_flight` is a level, the rest counts from the start.

    Args:
        requests: let in.
        body_bytes: of these requests.
        refused: by reason: "requests", "bytes", "in_flight", "share".
    """

    in_flight: int
    requests: int
    body_bytes: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a tenant must wait, and how long.

    Args:
        reason: as in `TenantStatistics.refused`.
        text: for the caller.
    """

    reason: str
    text: str
    wait_ns: int


class Place:
    """Where the use of one tenant is kept; this one is of a process that serves alone.

    Args:
        full_ns: when its bucket of requests, and of bytes, would be full again.
    """

    full_ns: MutableSequence[int] | memoryview

    def __init__(self) -> None:
        self.full_ns = [0, 0]

    def hold(self, in_flight: int) -> None:
        """Tell others how many requests are inside here."""

    def elsewhere(self) -> int:
        """Requests inside other processes."""
        return 0


class Bucket:
    """A rate with bursts of one second.

    Args:
        rate: units a second, above 0.
        cell: which of the place's times is the bucket's.
    """

    __slots__ = ("_cell", "_full_ns", "_rate")

    def __init__(self, rate: float, place: Place, cell: int) -> None:
        self._rate = rate
        self._full_ns = place.full_ns
        self._cell = cell

    def wait_ns(self, count: int, now_ns: int) -> int:
        """Until there is room for `count` units; 0 when there is now."""
        burst_ns = max(SECOND, self._cost_ns(1))  # slower than one a second: a burst of one
        full_ns = max(self._full_ns[self._cell], now_ns)
        return max(0, full_ns + self._cost_ns(count) - now_ns - burst_ns)

    def take(self, count: int, now_ns: int) -> None:
        self._full_ns[self._cell] = max(self._full_ns[self._cell], now_ns) + self._cost_ns(count)

    def _cost_ns(self, count: int) -> int:
        return int(count * SECOND / self._rate)  # rounded down: a whole burst always fits


class Use:
    """What one tenant has used, and may use."""

    def __init__(self, limits: TenantSettings = UNLIMITED, place: Place | None = None) -> None:
        self.in_flight = 0
        self.requests = 0
        self.body_bytes = 0
        self.refused: Counter[str] = Counter()
        self._place = place or Place()
        self.limit(limits)

    def limit(self, limits: TenantSettings) -> None:
        """Set limits; what was used stays counted."""
        self.limits = limits
        self._requests = self._bucket(limits.requests_per_second, 0)
        self._bytes = self._bucket(limits.bytes_per_second, 1)

    def enter(self, body_bytes: int, now_ns: int) -> None:
        """Let one request in; it must `leave` then."""
        self.in_flight += 1
        self.requests += 1
        self._place.hold(self.in_flight)
        if self._requests is not None:
            self._requests.take(1, now_ns)
        self.charge(body_bytes, now_ns)

    def charge(self, body_bytes: int, now_ns: int) -> None:
        """Count bytes of a request that is inside."""
        self.body_bytes += body_bytes
        if self._bytes is not None:
            self._bytes.take(body_bytes, now_ns)

    def leave(self) -> None:
        self.in_flight -= 1
        self._place.hold(self.in_flight)

    def statistics(self) -> TenantStatistics:
        return TenantStatistics(self.in_flight, self.requests, self.body_bytes, dict(self.refused))

    def why_not(self, now_ns: int) -> Refused | None:
        """What stands against one more request, if anything."""
        limits = self.limits
        if self._requests is not None and (wait_ns := self._requests.wait_ns(1, now_ns)):
            text = f"the tenant's quota of {limits.requests_per_second:g} requests a second is used"
            return Refused("requests", text, wait_ns)
        if self._bytes is not None and (wait_ns := self._bytes.wait_ns(1, now_ns)):
            text = f"the tenant's quota of {limits.bytes_per_second} bytes a second is used"
            return Refused("bytes", text, wait_ns)
        most = limits.in_flight_max
        if most is not None and self.in_flight + self._place.elsewhere() >= most:
            text = f"the tenant has {most} requests inside, its most at once"
            return Refused("in_flight", text, RETRY_NS)
        return None

    def _bucket(self, rate: float | None, cell: int) -> Bucket | None:
        return None if rate is None else Bucket(rate, self._place, cell)
