"""Gradient2: the limit shrinks as latency grows faster than its own long average.

Source: `Gradient2Limit` of https://github.com/Netflix/concurrency-limits
"""

from __future__ import annotations

LIMIT_MIN = 20
LIMIT_MAX = 200
QUEUE = 4  # events that may wait: how fast the limit grows
SMOOTHING = 0.2
TOLERANCE = 1.5  # latency may be so many times its long average
LONG_SAMPLES = 600
WARM_SAMPLES = 10  # plain mean at first


class Gradient2:
    """A law of `ConcurrencyLimit`."""

    def __init__(self) -> None:
        self.limit: float = LIMIT_MIN
        self._long_ns = 0.0
        self._samples = 0

    def sample(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        self._samples += 1
        weight = 1 / self._samples if self._samples <= WARM_SAMPLES else 2 / (LONG_SAMPLES + 1)
        self._long_ns += (latency_ns - self._long_ns) * weight
        long_ns = self._long_ns
        if long_ns > 2 * latency_ns:  # a long overload is over: find back faster
            self._long_ns *= 0.95
        if in_flight < self.limit / 2:
            return  # too few inside to say anything of the limit
        gradient = max(0.5, min(1.0, TOLERANCE * long_ns / latency_ns))
        limit = self.limit * (1 - SMOOTHING) + (self.limit * gradient + QUEUE) * SMOOTHING
        self.limit = max(LIMIT_MIN, min(LIMIT_MAX, limit))
