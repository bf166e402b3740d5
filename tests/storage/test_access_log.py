"""The log holds every access of the sampled keys, in bounded memory, and survives a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.errors import StoreError
from sedp.storage.advice.access_log import AccessLog, AccessSample, load_sample, save_sample
from tests.storage.tables import keys_of, some_keys


def hash_of(key: int) -> int:
    mask = (1 << 64) - 1
    word = key ^ 0xA0761D6478BD642F
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & mask
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
    return word ^ (word >> 31)


def sampled(keys: list[int], halvings: int) -> list[tuple[int, int]]:
    """Key and time of the accesses that the rate lets in."""
    return [(k, at) for at, k in enumerate(keys) if hash_of(k) < 1 << (64 - halvings)]


@settings(max_examples=150)
@given(
    st.integers(1, 40),
    st.integers(0, 6),
    st.lists(st.lists(st.integers(0, 300), max_size=150), max_size=8),
)
def test_log_holds_what_the_plain_model_holds(
    capacity: int, halvings_max: int, batches: list[list[int]]
) -> None:
    log = AccessLog("user", 100 << halvings_max, 64, capacity, 100)
    seen: list[int] = []
    for batch in batches:
        log.record(keys_of(*batch))
        seen += batch
        fits = [h for h in range(halvings_max) if len(sampled(seen, h)) <= capacity]
        halvings = fits[0] if fits else halvings_max
        wanted = sampled(seen, halvings)
        sample = log.snapshot()
        held = list(zip(sample.keys.tolist(), sample.times.tolist(), strict=True))
        assert held == wanted[-capacity:]
        assert (sample.halvings, sample.seen) == (halvings, len(seen))
        assert sample.dropped == max(0, len(wanted) - capacity)
    assert log.snapshot().batches == sum(map(bool, batches))


def test_share_of_keys_is_the_rate_for_any_kind_of_key() -> None:
    rng = np.random.default_rng(0)
    for keys in (np.arange(200_000), np.arange(200_000) << 32, rng.integers(0, 1 << 62, 200_000)):
        log = AccessLog("user", 1000 << 5, 64, 20_000, 1000)
        log.record(keys.astype(np.uint64))
        sample = log.snapshot()
        assert sample.rate == 1 / 16
        assert len(sample.keys) / 200_000 == pytest.approx(sample.rate, rel=0.05)


def test_rate_leaves_the_keys_the_curve_needs() -> None:
    log = AccessLog("user", 10_000, 64, 1000, 1000)
    for start in range(0, 100_000, 100):
        log.record(np.arange(start, start + 100, dtype=np.uint64) % np.uint64(10_000))
    sample = log.snapshot()
    assert sample.rate == 1 / 8
    assert len(np.unique(sample.keys)) >= 1000
    assert sample.dropped > 0
    assert sample.first_time == sample.times[0] > 80_000


def test_sample_is_complete_from_the_start_until_accesses_are_dropped() -> None:
    log = AccessLog("user", 10, 64, 3)
    log.record(keys_of(1, 2, 3))
    assert log.snapshot().first_time == 0
    log.record(keys_of(4))
    assert log.snapshot().first_time == 1


def test_snapshot_is_a_copy_and_drain_begins_anew() -> None:
    log = AccessLog("user", 10, 64)
    log.record(keys_of(1, 2))
    before = log.drain()
    log.record(keys_of(3))
    after = log.snapshot()
    assert (before.keys.tolist(), before.seen) == ([1, 2], 2)
    assert (after.keys.tolist(), after.times.tolist(), after.seen, after.batches) == (
        [3],
        [0],
        1,
        1,
    )


def a_sample(count: int = 100) -> AccessSample:
    log = AccessLog("user", 1000 << 3, 64, 60, 1000)
    log.record(some_keys(count))
    return log.snapshot()


@pytest.mark.parametrize("count", [0, 1, 50, 1000])
def test_sample_round_trips_through_its_file(count: int, tmp_path: Path) -> None:
    sample = a_sample(count)
    path = tmp_path / "new" / "user.npz"
    for _ in range(2):
        save_sample(sample, path)
    back = load_sample(path)
    for field in dataclasses.fields(AccessSample):
        ours, theirs = getattr(sample, field.name), getattr(back, field.name)
        assert np.array_equal(ours, theirs)
    assert [file.name for file in path.parent.iterdir()] == ["user.npz"]


def test_missing_or_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "user.npz"
    with pytest.raises(StoreError, match=r"user\.npz cannot be read"):
        load_sample(path)
    save_sample(a_sample(), path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-30], b"rubbish" * 10):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="serve with access_log: true"):
            load_sample(path)


@pytest.mark.parametrize(
    "change",
    [
        {"keys": np.zeros(3, np.uint64)},
        {"keys": np.zeros(60, np.int64), "times": np.arange(60)},
        {"times": np.zeros(60, np.uint64), "keys": np.zeros(60, np.uint64)},
        {"seen": 1},
        {"batches": 0},
        {"seen": -1},
        {"halvings": 33},
        {"row_bytes": 0},
        {"dropped": -1},
    ],
)
def test_file_that_contradicts_itself_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    save_sample(dataclasses.replace(a_sample(), **change), tmp_path / "user.npz")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="do not agree"):
        load_sample(tmp_path / "user.npz")


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        save_sample(a_sample(), tmp_path / "file" / "user.npz")


@pytest.mark.parametrize(("capacity", "keys_min"), [(0, 1), (1, 0)])
def test_bounds_are_checked(capacity: int, keys_min: int) -> None:
    with pytest.raises(ValueError, match="must be ≥ 1"):
        AccessLog("user", 1, 4, capacity, keys_min)
