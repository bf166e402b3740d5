"""AIMD: one more after each event in time, a tenth less after each late one.

What is adapted: late is later than the pipeline's target; the library's five seconds stand where
there is none. Source: `AIMDLimit` of https://github.com/Netflix/concurrency-limits
"""

from __future__ import annotations

LIMIT_MIN = 20
LIMIT_MAX = 200
BACKOFF = 0.9
TIMEOUT_NS = 5_000_000_000


class Aimd:
    """A law of `ConcurrencyLimit`. Args: `target_ns` ≥ 0."""

    def __init__(self, target_ns: int) -> None:
        self.limit: float = LIMIT_MIN
        self._timeout_ns = target_ns or TIMEOUT_NS

    def sample(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        if dropped or latency_ns > self._timeout_ns:
            self.limit = max(LIMIT_MIN, int(self.limit * BACKOFF))
        elif in_flight * 2 >= self.limit:
            self.limit = min(LIMIT_MAX, self.limit + 1)
