"""Buckets hold what a dict would, up to their room; nothing else ever comes out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.storage.lmdb.bucket_reading import read_rows
from sedp.storage.lmdb.bucket_search import CLOSED, FREE
from sedp.storage.lmdb.bucket_writing import (
    clear_buckets,
    clear_unsound,
    fill_buckets,
    list_keys,
    list_rows,
    merge_rows,
)
from sedp.storage.rows.bucket import (
    FILL,
    HEADER_BYTES,
    PAGE_BYTES,
    BucketShape,
    Layout,
    keys_at,
    places_of,
)
from sedp.storage.rows.record import seal
from sedp.storage.tier import Keys, Mask, Rows
from tests.storage.tables import keys_of, some_keys

LAST = (1 << 64) - 1
SEED = 11

layouts = pytest.mark.parametrize("layout", ["hashed", "dense"])


class Buckets:
    """Values in pages of memory, as LMDB lays them out."""

    def __init__(self, shape: BucketShape) -> None:
        self.shape = shape
        self.size = shape.slots, shape.tag_bytes, shape.slot_bytes, shape.is_dense
        stride = shape.pages * PAGE_BYTES
        memory = np.zeros((shape.buckets + 2) * stride, dtype=np.uint8)
        start = -memory.ctypes.data % PAGE_BYTES
        self.base = memory.ctypes.data + start
        self.pages = np.arange(1, shape.buckets + 1, dtype=np.uint32) * np.uint32(shape.pages)
        at = start + stride + HEADER_BYTES
        self.lying = np.lib.stride_tricks.as_strided(
            memory[at:], (shape.buckets, shape.value_bytes), (stride, 1)
        )
        self.values = np.empty((shape.buckets, shape.value_bytes), dtype=np.uint8)
        clear_buckets(self.values, *self.size)
        self.misplaced = 0  # rows that listing is to leave out

    def buckets_of(self, keys: Keys) -> np.ndarray:
        return self.shape.buckets_of(places_of(keys, self.shape.layout)).astype(np.int64)

    def records(self, keys: Keys, epoch: int = 0) -> Rows:
        return seal(keys, rows_of(keys, self.shape.row_bytes, epoch), epoch, SEED)

    def fill(self, keys: Keys) -> int:
        buckets = self.buckets_of(keys)
        return fill_buckets(keys, self.records(keys), buckets, *self.size, self.values)

    def merge(self, keys: Keys, warmth: list[int], heat: Rows, epoch: int = 1) -> tuple[int, ...]:
        records, buckets = self.records(keys, epoch), self.buckets_of(keys)
        warm = np.array(warmth, dtype=np.uint8)
        return merge_rows(keys, records, buckets, warm, *self.size, self.values, heat)

    def heat(self, value: int) -> Rows:
        return np.full((self.shape.buckets, self.shape.slots), value, np.uint8)

    def read(self, keys: Keys) -> tuple[Rows, Mask, int]:
        self.lying[:] = self.values
        rows, missing = np.full((len(keys), self.shape.row_bytes), 77, np.uint8), keys == keys
        wanted, found = np.arange(len(keys)), np.empty(len(keys), np.int64)
        held, corrupt = read_rows(
            self.pages, self.base, *self.size, SEED, keys, wanted, rows, missing, found
        )
        assert sorted(found[:held].tolist()) == np.flatnonzero(~missing).tolist()
        assert (rows[missing] == 77).all()
        return rows, missing, corrupt

    def listed(self) -> dict[int, bytes]:
        keys = np.empty(self.values.shape[0] * self.shape.slots, dtype=np.uint64)
        records = np.empty((len(keys), self.shape.record_bytes), dtype=np.uint8)
        count, misplaced = list_rows(self.values, 0, self.shape.buckets, *self.size, keys, records)
        assert misplaced == self.misplaced
        pairs = zip(keys[:count].tolist(), records[:count], strict=True)
        return {key: record.tobytes() for key, record in pairs}


def rows_of(keys: Keys, row_bytes: int, epoch: int = 0) -> Rows:
    """Of which every one tells its key and epoch."""
    words = keys[:, np.newaxis] * np.uint64(31) + np.arange(row_bytes // 4, dtype=np.uint64)
    return (words + np.uint64(epoch * 7919)).astype(np.uint32).view(np.uint8)


@layouts
@pytest.mark.parametrize("dim", [*range(1, 70), 100, 128, 255, 256, 600, 1000, 2048, 4095, 4096])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_shapes_hold_together(layout: Layout, dim: int, width: int) -> None:
    shape = BucketShape.for_rows(-(-dim * width // 4) * 4, layout, 1000)
    assert 1 <= shape.slots <= shape.tag_bytes < shape.slots + 16
    assert shape.tag_bytes + shape.slots * shape.slot_bytes <= shape.value_bytes
    assert shape.pages <= 16
    assert -(-(shape.value_bytes + HEADER_BYTES) // PAGE_BYTES) == max(
        shape.pages, -(-(HEADER_BYTES + 16 + shape.slot_bytes) // PAGE_BYTES)
    )
    room = shape.buckets * shape.slots * (1 if layout == "dense" else FILL)
    assert 1000 <= room < 1000 + shape.slots


@layouts
@pytest.mark.parametrize("dim", [1, 2, 5, 16, 64, 300, 1024, 4096])
def test_filled_rows_come_back_and_no_others(layout: Layout, dim: int) -> None:
    keys = np.arange(300, dtype=np.uint64)
    if layout == "hashed":
        keys = np.concatenate([keys_of(0, 1, LAST), some_keys(297)])
    buckets = Buckets(BucketShape.for_rows(4 * dim, layout, 300))
    left = buckets.fill(keys)
    absent = some_keys(200, seed=9)
    asked = np.random.default_rng(1).choice(np.concatenate([keys, absent, keys_of(LAST)]), 900)
    rows, missing, corrupt = buckets.read(asked)
    held = buckets.listed()
    assert (len(held), corrupt) == (len(keys) - left, 0)
    share = 0.0 if layout == "dense" else 0.02 if buckets.shape.slots >= 24 else 0.25
    assert left <= share * len(keys)
    for key, row, is_missing in zip(asked.tolist(), rows, missing, strict=True):
        assert is_missing == (key not in held)
        if not is_missing:
            assert (row == rows_of(keys_of(key), 4 * dim)[0]).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 15)), max_size=40),
)
def test_merging_follows_a_dict(dim: int, count: int, puts: list[tuple[int, int]]) -> None:
    keys = np.concatenate([keys_of(0, LAST), some_keys(300)])
    buckets = Buckets(BucketShape(4 * dim, "hashed", count))
    model = dict.fromkeys(buckets.listed(), b"")
    heat = buckets.heat(0)
    for epoch, (at, warmth) in enumerate(puts, start=1):
        key = keys[at : at + 1]
        buckets.merge(key, [warmth], heat, epoch)
        model[int(key[0])] = buckets.records(key, epoch).tobytes()
    assert buckets.listed() == model  # there is room for all
    rows, missing, _ = buckets.read(keys)
    for key, row, is_missing in zip(keys.tolist(), rows, missing, strict=True):
        assert is_missing == (key not in model)
        assert is_missing or row.tobytes() == model[key][: 4 * dim]


@pytest.mark.parametrize("dim", [16, 64])
def test_nearly_all_rows_are_in_the_group_where_a_search_begins(dim: int) -> None:
    """Also where the last group has two slots only."""
    shape = BucketShape.for_rows(4 * dim, "hashed", 5000)
    buckets = Buckets(shape)
    buckets.fill(some_keys(5000))
    keys = list_keys(buckets.values, *buckets.size[:3]).reshape(-1, shape.slots)
    held = buckets.values[:, : shape.slots] > CLOSED
    drawn = (places_of(keys[held], "hashed") >> np.uint64(8)) & np.uint64(0xFFFF)
    home = (drawn * np.uint64(shape.slots) >> np.uint64(16)) // np.uint64(16)
    elsewhere = np.nonzero(held)[1] // 16 != home
    assert shape.slots % 16
    assert elsewhere.mean() < 0.02


def test_full_bucket_gives_up_its_coldest_row_to_a_warmer_one_only() -> None:
    buckets = Buckets(BucketShape(64, "hashed", 1))
    keys, slots = some_keys(500), buckets.shape.slots
    heat = buckets.heat(0)
    added = buckets.merge(keys[:slots], [5] * slots, heat)
    assert added == (slots, 0, 0)
    coldest = 17
    heat[0, coldest] = 3
    victim = int(list_keys(buckets.values, *buckets.size[:3])[coldest])
    assert buckets.merge(keys[400:401], [3], heat) == (0, 0, 1)
    assert buckets.merge(keys[401:402], [4], heat) == (0, 1, 0)
    held = buckets.listed()
    assert len(held) == slots
    assert victim not in held
    assert [int(keys[at]) in held for at in (400, 401)] == [False, True]
    assert buckets.merge(keys[401:402], [0], heat, epoch=2) == (0, 0, 0)  # it has its slot
    assert not buckets.read(keys[401:402])[1].any()


def test_rows_that_find_no_slot_are_left_out() -> None:
    buckets = Buckets(BucketShape(64, "hashed", 1))
    keys = some_keys(buckets.shape.slots + 9)
    assert buckets.fill(keys) == 9
    rows, missing, corrupt = buckets.read(keys)
    assert (np.count_nonzero(missing), corrupt) == (9, 0)
    assert (rows[~missing] == rows_of(keys, 64)[~missing]).all()


def test_dense_keys_outside_and_slots_without_row_are_missing() -> None:
    buckets = Buckets(BucketShape.for_rows(64, "dense", 100))
    buckets.fill(np.arange(0, 100, 2, dtype=np.uint64))
    asked = np.arange(200, dtype=np.uint64)
    asked[150:160] = LAST - np.arange(10, dtype=np.uint64)
    missing = buckets.read(asked)[1]
    assert np.flatnonzero(~missing).tolist() == list(range(0, 100, 2))


@layouts
def test_any_flipped_bit_makes_rows_missing_never_wrong(layout: Layout) -> None:
    keys = np.arange(90, dtype=np.uint64) if layout == "dense" else some_keys(70)
    buckets = Buckets(BucketShape.for_rows(16, layout, len(keys)))
    buckets.fill(keys)
    sound, rng = buckets.values.copy(), np.random.default_rng(3)
    lost = 0
    for _ in range(3000):
        at, byte = rng.integers(len(sound)), rng.integers(sound.shape[1])
        buckets.values[at, byte] ^= np.uint8(1 << rng.integers(8))
        rows, missing, _ = buckets.read(keys)
        assert (rows[~missing] == rows_of(keys, 16)[~missing]).all()
        lost += np.count_nonzero(missing)
        buckets.values[at] = sound[at]
    assert 0 < lost < 10_000


def test_pages_of_rubbish_are_missing_and_merged_into_within_bounds() -> None:
    buckets, rng = Buckets(BucketShape.for_rows(64, "hashed", 200)), np.random.default_rng(5)
    keys = some_keys(200)
    for turn in range(50):
        buckets.values[:] = rng.integers(0, 3 if turn % 2 else 256, buckets.values.shape)
        assert buckets.read(keys)[1].all()
        held = np.count_nonzero(buckets.values[:, : buckets.shape.slots] > CLOSED)
        assert clear_unsound(*buckets.size[:3], buckets.values) == held
        added = buckets.merge(keys, [1] * len(keys), buckets.heat(0))[0]
        assert added + np.count_nonzero(buckets.read(keys)[1]) == len(keys)


@layouts
def test_rows_of_another_bucket_are_not_listed(layout: Layout) -> None:
    """They are right now, but nobody would keep them so."""
    buckets = Buckets(BucketShape.for_rows(64, layout, 300))
    keys = np.arange(300, dtype=np.uint64)
    buckets.fill(keys)
    before = buckets.listed()
    buckets.values[2] = buckets.values[0]
    buckets.misplaced = int(np.count_nonzero(buckets.values[0, : buckets.shape.slots] > CLOSED))
    after = buckets.listed()
    assert set(after) == set(keys[buckets.buckets_of(keys) != 2].tolist()) & set(before)


def test_sound_buckets_are_not_cleared() -> None:
    buckets = Buckets(BucketShape.for_rows(64, "hashed", 500))
    keys = some_keys(800)
    buckets.fill(keys[:500])
    buckets.merge(keys[400:], [200] * 400, buckets.heat(0))
    before = buckets.values.copy()
    assert clear_unsound(*buckets.size[:3], buckets.values) == 0
    assert (buckets.values == before).all()


@pytest.mark.parametrize("tag", [FREE, CLOSED, 200])
def test_row_hidden_by_its_tag_does_not_return_when_it_is_old(tag: int) -> None:
    """Its key is written again elsewhere; should that row go, the hidden one would be stale."""
    buckets = Buckets(BucketShape(64, "hashed", 1))
    keys = some_keys(20)
    buckets.fill(keys)
    slot = int(np.flatnonzero(list_keys(buckets.values, *buckets.size[:3]) == keys[7])[0])
    buckets.values[0, slot] = tag if buckets.values[0, slot] != tag else tag - 1
    held = np.count_nonzero(buckets.values[0, : buckets.shape.slots] > CLOSED)
    assert clear_unsound(*buckets.size[:3], buckets.values) == held > 0
    assert buckets.listed() == {}


@given(st.lists(st.integers(0, LAST), max_size=50))
def test_places_give_keys_back_and_rise_with_the_bucket(numbers: list[int]) -> None:
    keys = keys_of(*numbers)
    shape = BucketShape(64, "hashed", 1000)
    places = np.sort(places_of(keys, "hashed"))
    assert set(keys_at(places, "hashed").tolist()) == set(numbers)
    buckets = shape.buckets_of(places)
    assert (np.diff(buckets.astype(np.int64)) >= 0).all()
    assert (buckets < 1000).all()
