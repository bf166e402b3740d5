"""The curve of a sample is near what the RAM tier really hits, whatever policy that has."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.advice.access_log import SALT, AccessLog, AccessSample
from sedp.storage.advice.hit_curve import HitCurve, hit_curve, usual_sizes
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.tier import RamTier, bytes_per_set
from sedp.storage.rows.keys import combine
from tests.storage.tables import Keys

IDS = 40_000
ACCESSES = 400_000
BATCH_KEYS = 200
SHARES = (0.02, 0.05, 0.1, 0.2, 0.5)
SIZES = [int(share * IDS) for share in SHARES]


def zipf(alpha: float, seed: int, ids: int = IDS, accesses: int = ACCESSES) -> Keys:
    """Accesses of ids; which id is how hot depends on the seed."""
    dice = np.random.default_rng(seed)
    cumulative = np.cumsum(np.arange(1, ids + 1) ** -alpha)
    ranks = np.searchsorted(cumulative / cumulative[-1], dice.random(accesses))
    return dice.permutation(ids)[ranks].astype(np.uint64)


def sample_of(stream: Keys, rate: float, ids: int = IDS, capacity: int = 1 << 20) -> AccessSample:
    """The log of a stream; at its lowest rate when that makes it full."""
    log = AccessLog("user", ids, 64, capacity, max(1, int(ids * rate)))
    for start in range(0, len(stream), BATCH_KEYS):
        log.record(stream[start : start + BATCH_KEYS])
    return log.snapshot()


def served(stream: Keys, sets: int) -> float:
    """Hit ratio of the second half at full size: what the cascade asks below for is no hit."""
    tier = RamTier("ram", 0, sets)
    rows, fetched = np.empty((BATCH_KEYS, 0), np.uint8), 0
    for start in range(0, len(stream), BATCH_KEYS):
        batch = stream[start : start + BATCH_KEYS]
        missing = np.empty(len(batch), np.bool_)
        tier.get_many(batch, rows[: len(batch)], missing)
        unknown = np.unique(batch[missing])
        tier.put_many(unknown, rows[: len(unknown)])
        fetched += len(unknown) if start >= len(stream) // 2 else 0
    return 1 - fetched / (len(stream) - len(stream) // 2)


def test_curve_of_all_keys_is_what_the_tier_hits() -> None:
    stream = zipf(1.05, 1)
    curve = hit_curve(sample_of(stream, 1.0), SIZES)
    assert curve.ratios.tolist() == pytest.approx(
        [served(stream, int(rows) // WAYS) for rows in curve.rows], abs=1e-12
    )


@pytest.mark.parametrize("alpha", [0.9, 1.05, 1.2])
def test_curve_of_a_quarter_of_the_keys_is_near(alpha: float) -> None:
    """A sample of 10,000 keys; the log's own least is 65,536, and its errors 0.4 of these."""
    stream = zipf(alpha, 2)
    sample = sample_of(stream, 1 / 4, capacity=120_000)
    assert sample.rate <= 1 / 2
    curve = hit_curve(sample, SIZES)
    for size in SIZES:
        real = served(stream, round(size / WAYS))
        assert np.interp(size, curve.rows, curve.ratios) == pytest.approx(real, abs=0.02)


def with_hot_key(stream: Keys, hot: int) -> Keys:
    """Every third access is of one key."""
    stream = stream.copy()
    stream[::3] = hot
    return stream


def is_sampled(key: int, rate: float) -> bool:
    """As the log chooses: `combine` of one column mixes it with the salt as `mix` does."""
    golden = (1 << 64) - 0x9E3779B97F4A7C15
    salted = np.array([key ^ int(SALT)], np.uint64).view(np.int64)
    return bool(combine([salted], golden)[0] < np.uint64(int(rate * (1 << 64))))


@pytest.mark.parametrize("wanted", [True, False])
def test_chance_that_samples_the_hottest_key_or_not_hardly_matters(wanted: bool) -> None:
    rate = 1 / 4
    hot = next(key for key in range(IDS, 2 * IDS) if is_sampled(key, rate) == wanted)
    stream = with_hot_key(zipf(0.9, 3), hot)
    sample = sample_of(stream, rate, capacity=110_000)
    assert sample.rate == rate
    assert bool((sample.keys == np.uint64(hot)).any()) == wanted
    curve = hit_curve(sample, SIZES)
    for size in SIZES:
        real = served(stream, round(size / WAYS))
        assert np.interp(size, curve.rows, curve.ratios) == pytest.approx(real, abs=0.02)


def test_only_the_second_half_of_what_the_log_covers_counts() -> None:
    """A scan fills the first half, ten keys the second: but for ten misses all of that hits."""
    scan = np.arange(20_000, dtype=np.uint64)
    stream = np.concatenate([scan, np.resize(scan[:10] + np.uint64(1 << 40), 20_000)])
    assert hit_curve(sample_of(stream, 1.0), [700]).ratios.tolist() == [1 - 10 / 20_000]
    late = sample_of(stream, 1.0, capacity=10_000)
    assert late.dropped == 30_000
    assert hit_curve(late, [700]).ratios.tolist() == [1.0]


def test_same_sample_gives_the_same_curve() -> None:
    sample = sample_of(zipf(1.05, 5, 1000, 20_000), 1 / 2, 1000)
    first, second = hit_curve(sample), hit_curve(sample)
    assert (first.ratios == second.ratios).all()
    assert (first.bytes == second.bytes).all()


@pytest.mark.parametrize("ids", [1, 6, 7, 100, 3000])
def test_curve_is_ascending_and_below_the_whole_table(ids: int) -> None:
    curve = hit_curve(sample_of(zipf(1.0, 6, ids, 20_000), 1 / 4, ids, 3000))
    for array in (curve.rows, curve.bytes):
        assert (np.diff(array) > 0).all()
    assert (np.diff(curve.ratios) >= 0).all()
    assert ((curve.ratios >= 0) & (curve.ratios <= 1)).all()
    assert (curve.bytes < curve.whole_bytes).all()
    assert (curve.bytes == curve.rows // WAYS * bytes_per_set(64)).all()
    assert curve.whole_bytes >= 2 * ids / WAYS * bytes_per_set(64, is_whole=True)
    assert curve.ratio_at(curve.whole_bytes) == 1.0
    assert (curve.table, curve.table_rows, curve.row_bytes) == ("user", ids, 64)
    assert curve.lookups == 20_000


def test_curve_does_not_fall_where_a_larger_cache_was_less_lucky() -> None:
    """Here 287 rows hit 0.947 of the look-ups and 294 rows 0.936."""
    curve = hit_curve(sample_of(zipf(0.5, 0, 300, 2000), 1.0, 300), range(140, 300, 7))
    assert (np.diff(curve.ratios) >= 0).all()


def test_log_without_accesses_is_told() -> None:
    with pytest.raises(StoreError, match="'user' has 0 accesses; serve on"):
        hit_curve(AccessLog("user", 100, 64).snapshot())


def test_table_without_rows_has_a_curve_of_no_sizes() -> None:
    sample = dataclasses.replace(sample_of(zipf(1.0, 7, 10, 100), 1.0, 10), rows=0)
    curve = hit_curve(sample)
    assert len(curve.ratios) == 0
    assert curve.ratio_at(curve.whole_bytes - 1) == 0.0
    assert curve.bytes_for(0.5) == curve.whole_bytes


def test_usual_sizes_reach_from_a_512th_to_all_rows() -> None:
    sizes = usual_sizes(1_000_000)
    assert (sizes[0], sizes[-1], len(sizes)) == (1954, 1_000_000, 19)
    assert usual_sizes(3) == [1, 2, 3]
    assert usual_sizes(0) == []


def curve_of(points: list[tuple[int, float]], whole_bytes: int) -> HitCurve:
    size = np.array([point[0] for point in points], np.int64)
    ratios: NDArray[np.float64] = np.array([point[1] for point in points], np.float64)
    return HitCurve("user", 1000, 64, 1, size, size, ratios, whole_bytes)


def test_between_the_sizes_the_curve_is_straight() -> None:
    curve = curve_of([(100, 0.4), (300, 0.8)], 1000)
    sizes = [0, 50, 100, 200, 300, 999, 1000, 5000]
    assert [curve.ratio_at(size) for size in sizes] == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8, 0.8, 1, 1]
    )
    assert [curve.bytes_for(ratio) for ratio in (0, 0.2, 0.6, 0.8, 0.81, 1)] == [
        0,
        50,
        200,
        300,
        1000,
        1000,
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), st.floats(0, 1)), max_size=8, unique_by=lambda p: p[0]
    ),
    st.floats(0, 1),
)
def test_bytes_for_a_ratio_reach_it_and_not_much_less_would(
    points: list[tuple[int, float]], ratio: float
) -> None:
    sizes, ratios = sorted(p[0] for p in points), sorted(p[1] for p in points)
    curve = curve_of(list(zip(sizes, ratios, strict=True)), 10**9 + 1)
    needed = curve.bytes_for(ratio)
    assert curve.ratio_at(needed) >= ratio - 1e-9
    assert needed == 0 or curve.ratio_at(needed - 1) <= ratio + 1e-9
