"""Vegas: the limit grows while little of it waits, and shrinks when more does.

How many wait is reckoned from the least latency seen, which is forgotten every so often, since the
least of all times may never come back. What is adapted: the library draws that moment by dice, so
that many servers do not forget together; here it is the middle of their range.

Source: `VegasLimit` of https://github.com/Netflix/concurrency-limits
"""

from __future__ import annotations

from math import ceil, log10

LIMIT_FIRST = 20
LIMIT_MAX = 1000
PROBE_SAMPLES = 30  # by the limit
PROBE_JITTER = 0.75  # the middle of 0.5 and 1


class Vegas:
    """A law of `ConcurrencyLimit`."""

    def __init__(self) -> None:
        self.limit: float = LIMIT_FIRST
        self._least_ns = 0
        self._samples = 0

    def sample(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        self._samples += 1
        if self._samples >= PROBE_JITTER * PROBE_SAMPLES * self.limit:
            self._samples = 0
            self._least_ns = latency_ns
        elif self._least_ns == 0 or latency_ns < self._least_ns:
            self._least_ns = latency_ns
        else:
            self._move(latency_ns, in_flight, dropped=dropped)

    def _move(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        limit = self.limit
        step = max(1, int(log10(limit)))
        waiting = ceil(limit * (1 - self._least_ns / latency_ns))
        if dropped:
            limit -= step
        elif in_flight * 2 < limit:
            return  # too few inside to say anything of the limit
        elif waiting <= step:
            limit += 6 * step
        elif waiting < 3 * step:
            limit += step
        elif waiting > 6 * step:
            limit -= step
        self.limit = max(1, min(LIMIT_MAX, limit))
