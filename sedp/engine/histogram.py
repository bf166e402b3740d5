"""A log-bucketed histogram of non-negative integers: bounded, mergeable, cheap to feed.

Eight buckets an octave, so a quantile is at most 12.5 % above the true value; the smallest
sixteen values are exact. Prior art: HdrHistogram. Values beyond 2**44 (4.8 hours in ns) share
the last bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

VALUE_BITS_MAX = 44
BUCKET_COUNT = (VALUE_BITS_MAX - 4) * 8 + 16


def _upper_bound(bucket: int) -> int:
    """The largest value that falls into `bucket`."""
    if bucket < 16:
        return bucket
    shift = (bucket >> 3) - 1
    return (((bucket & 7) + 9) << shift) - 1


BOUNDS = tuple(_upper_bound(bucket) for bucket in range(BUCKET_COUNT))


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """What a histogram held at one moment.

    Args:
        bounds: inclusive upper bounds, ascending, in the unit of the values.
        counts: one more than bounds; the last counts values above all bounds.
        total: sum of all values.
    """

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    total: int

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> int:
        """Upper bound of the bucket that holds the `q`-quantile, 0 ≤ q ≤ 1; 0 when empty."""
        rank, seen = q * self.count, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if count and seen >= rank:
                return bound
        return self.bounds[-1] if self.count else 0

    def octaves(self) -> HistogramSnapshot:
        """The same values in one bucket an octave: few enough to export."""
        bounds = [bound for bound in self.bounds if bound & (bound + 1) == 0]
        counts, start = [], 0
        for bound in bounds:
            stop = self.bounds.index(bound) + 1
            counts.append(sum(self.counts[start:stop]))
            start = stop
        return HistogramSnapshot(tuple(bounds), (*counts, sum(self.counts[start:])), self.total)


class Histogram:
    """The growing side; `snapshot()` is the reading side."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (BUCKET_COUNT + 1)
        self._total = 0

    def record(self, value: int) -> None:
        """Count one value ≥ 0."""
        shift = value.bit_length() - 4
        bucket = value if shift <= 0 else (shift << 3) + (value >> shift)
        try:
            self._counts[bucket] += 1
        except IndexError:  # cheaper than a comparison on every call
            self._counts[BUCKET_COUNT] += 1
        self._total += value

    def snapshot(self) -> HistogramSnapshot:
        return HistogramSnapshot(BOUNDS, tuple(self._counts), self._total)
