"""The histogram against sorted lists of the values themselves."""

from __future__ import annotations

import bisect
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.engine.histogram import (
    BOUNDS,
    BUCKET_COUNT,
    VALUE_BITS_MAX,
    Histogram,
    HistogramSnapshot,
)

# Evenly spread over the octaves: plain integers would be nearly all in the last ones.
VALUES = st.integers(0, VALUE_BITS_MAX).flatmap(
    lambda bits: st.integers((1 << bits) >> 1, (1 << bits) - 1)
)
LISTS = st.lists(VALUES, min_size=1, max_size=60)
FAR = st.integers(2**VALUE_BITS_MAX, 2**70)


def snapshot_of(values: list[int]) -> HistogramSnapshot:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram.snapshot()


def true_quantile(values: list[int], q: float) -> int:
    """The smallest value that a share `q` of the values does not exceed."""
    return sorted(values)[max(math.ceil(q * len(values)), 1) - 1]


@settings(deadline=None)
@given(values=LISTS, q=st.floats(0, 1))
def test_a_quantile_is_at_most_an_eighth_above_the_true_one(values: list[int], q: float) -> None:
    true = true_quantile(values, q)
    assert true <= snapshot_of(values).quantile(q) <= true * 9 / 8


@settings(deadline=None)
@given(values=st.lists(st.integers(0, 15), min_size=1, max_size=60), q=st.floats(0, 1))
def test_values_below_sixteen_are_exact(values: list[int], q: float) -> None:
    assert snapshot_of(values).quantile(q) == true_quantile(values, q)


def test_bounds_ascend_and_each_is_the_last_value_of_its_bucket() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert (BOUNDS[0], BOUNDS[-1], len(BOUNDS)) == (0, 2**VALUE_BITS_MAX - 1, BUCKET_COUNT)
    for bucket, bound in enumerate(BOUNDS):
        assert snapshot_of([bound]).counts[bucket] == 1
        assert snapshot_of([bound + 1]).counts[bucket + 1] == 1


@settings(deadline=None)
@given(values=st.lists(VALUES | FAR, max_size=60))
def test_every_value_is_counted_in_its_bucket(values: list[int]) -> None:
    snapshot = snapshot_of(values)
    expected = [0] * (BUCKET_COUNT + 1)
    for value in values:
        expected[bisect.bisect_left(BOUNDS, value)] += 1
    assert list(snapshot.counts) == expected
    assert (snapshot.count, snapshot.total) == (len(values), sum(values))


@settings(deadline=None)
@given(near=st.lists(VALUES, max_size=5), far=st.lists(FAR, min_size=6, max_size=10))
def test_values_beyond_the_last_bucket_count_and_read_as_its_bound(
    near: list[int], far: list[int]
) -> None:
    snapshot = snapshot_of(near + far)
    assert snapshot.counts[-1] == len(far)
    assert snapshot.quantile(0.99) == BOUNDS[-1]


@settings(deadline=None)
@given(left=st.lists(VALUES | FAR, max_size=30), right=st.lists(VALUES | FAR, max_size=30))
def test_histograms_merge_by_adding_their_counts(left: list[int], right: list[int]) -> None:
    one, other = snapshot_of(left), snapshot_of(right)
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    merged = HistogramSnapshot(BOUNDS, counts, one.total + other.total)
    assert merged == snapshot_of(left + right)


@settings(deadline=None)
@given(values=st.lists(VALUES | FAR, max_size=60))
def test_octaves_keep_every_value_in_a_bucket_that_doubles(values: list[int]) -> None:
    octaves = snapshot_of(values).octaves()
    assert octaves.bounds == tuple(2**bits - 1 for bits in range(VALUE_BITS_MAX + 1))
    expected = [0] * (len(octaves.bounds) + 1)
    for value in values:
        expected[min(value.bit_length(), VALUE_BITS_MAX + 1)] += 1
    assert list(octaves.counts) == expected
    assert octaves.total == sum(values)
    assert octaves.octaves() == octaves


def test_an_empty_histogram_has_quantile_zero() -> None:
    assert snapshot_of([]).quantile(0.5) == 0
    assert snapshot_of([]).octaves().quantile(1) == 0


def test_a_snapshot_does_not_grow() -> None:
    histogram = Histogram()
    histogram.record(3)
    before = histogram.snapshot()
    histogram.record(4)
    assert (before.count, histogram.snapshot().count) == (1, 2)
