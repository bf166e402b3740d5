"""The RAM tier gives back what was put, forgets only by eviction, and evicts as it says it does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.storage.keys import combine
from sedp.storage.ram_kernels import WAYS, get_rows, put_rows
from sedp.storage.ram_tier import RESIDENT_REACH, RamTier
from tests.storage.tables import Keys, ask, some_keys


class Twin:
    """The set-associative table in plain Python: sets of `[key, counter]` and a hand."""

    def __init__(self, sets: int, reach: int) -> None:
        self.reach = reach
        self.sets: list[list[list[int]]] = [[] for _ in range(sets)]
        self.hands = [0] * sets

    def home(self, key: int) -> int:
        mask = (1 << 64) - 1
        word = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 & mask
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
        return ((word ^ (word >> 31)) >> 32) * len(self.sets) >> 32

    def within_reach(self, key: int) -> list[int]:
        return [(self.home(key) + step) % len(self.sets) for step in range(self.reach)]

    def find(self, key: int) -> list[int] | None:
        for at in self.within_reach(key):
            for entry in self.sets[at]:
                if entry[0] == key:
                    return entry
            if len(self.sets[at]) < WAYS:
                return None
        return None

    def get(self, key: int) -> bool:
        entry = self.find(key)
        if entry is not None:
            entry[1] = min(entry[1] + 1, 7)
        return entry is not None

    def put(self, key: int) -> None:
        if self.find(key) is not None:
            return
        for at in self.within_reach(key):
            if len(self.sets[at]) < WAYS:
                self.sets[at].append([key, 0])
                return
        home = self.home(key)
        while self.sets[home][self.hands[home]][1] > 0:
            self.sets[home][self.hands[home]][1] -= 1
            self.hands[home] = (self.hands[home] + 1) % WAYS
        self.sets[home][self.hands[home]] = [key, 0]
        self.hands[home] = (self.hands[home] + 1) % WAYS


def row_of(keys: Keys) -> NDArray[np.uint8]:
    return np.stack([keys, ~keys], axis=1).view(np.uint8)


@settings(max_examples=60)
@given(
    st.integers(1, 6),
    st.sampled_from([1, 2, 3, 16]),
    st.lists(st.lists(st.integers(0, 60), max_size=70), max_size=12),
)
def test_kernels_equal_their_twin(sets: int, reach: int, batches: list[list[int]]) -> None:
    lines, rows = np.zeros((sets, 8), np.uint64), np.zeros((sets * WAYS, 16), np.uint8)
    twin = Twin(sets, reach)
    for batch in batches:
        keys = np.array(batch, np.uint64)
        out, missing = np.zeros((len(keys), 16), np.uint8), np.zeros(len(keys), np.bool_)
        count = get_rows(lines, rows, reach, keys, out, missing)
        hits = [twin.get(key) for key in batch]
        assert missing.tolist() == [not hit for hit in hits]
        assert count == hits.count(False)
        assert (out[~missing] == row_of(keys)[~missing]).all()
        before = sum(map(len, twin.sets))
        grown = put_rows(lines, rows, reach, keys, row_of(keys))
        for key in batch:
            twin.put(key)
        assert grown == sum(map(len, twin.sets)) - before


def test_all_rows_stay_at_two_places_a_row_and_long_reach() -> None:
    keys = combine([np.arange(100_000)], 1)
    tier = RamTier("ram", 16, 100_000 * 2 // WAYS, RESIDENT_REACH)
    tier.put_many(keys, row_of(keys))
    assert tier.settle(len(keys))
    rows, missing = ask(tier, keys, 16)
    assert not missing.any()
    assert (rows == row_of(keys)).all()


def test_tier_that_evicted_a_row_is_not_resident() -> None:
    keys = some_keys(15)
    tier = RamTier("ram", 16, 2, RESIDENT_REACH)
    tier.put_many(keys[:14], row_of(keys[:14]))
    assert tier.settle(14)
    assert not tier.settle(15)
    tier.put_many(keys, row_of(keys))
    assert not tier.settle(15)


def test_resident_tier_keeps_its_rows_until_resized() -> None:
    keys, others = some_keys(14), some_keys(50, seed=2)
    tier = RamTier("ram", 16, 2)
    tier.put_many(keys, row_of(keys))
    assert tier.settle(14)
    tier.put_many(others, row_of(others))
    assert not ask(tier, keys, 16)[1].any()
    tier.resize(3)
    assert not tier.is_resident


@pytest.mark.parametrize("row_bytes", [0, 4, 36, 68, 4096])
def test_rows_of_any_width_come_back(row_bytes: int) -> None:
    keys = some_keys(500)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 256, (500, row_bytes), dtype=np.uint8)
    tier = RamTier("ram", row_bytes, 2000)
    tier.put_many(keys, rows)
    back, missing = ask(tier, keys, row_bytes)
    assert not missing.any()
    assert (back == rows).all()


def test_rows_in_use_outlive_a_scan_of_others() -> None:
    hot, cold = some_keys(200, seed=1), some_keys(20_000, seed=2)
    tier = RamTier("ram", 16, 100)
    tier.put_many(hot, row_of(hot))
    for start in range(0, len(cold), 200):
        ask(tier, hot, 16)
        part = cold[start : start + 200]
        tier.put_many(part, row_of(part))
    _, missing = ask(tier, hot, 16)
    assert np.count_nonzero(missing) < 20


def test_later_row_of_a_key_replaces_the_earlier() -> None:
    tier, key = RamTier("ram", 4, 1), np.array([0, 0], np.uint64)
    tier.put_many(key, np.array([[1], [2]], np.uint32).view(np.uint8))
    rows, missing = ask(tier, key[:1], 4)
    assert rows.view(np.uint32).tolist() == [[2]]
    assert not missing[0]
    assert tier.statistics().rows == 1


def test_key_zero_is_a_key_like_others() -> None:
    tier, zero = RamTier("ram", 16, 3), np.zeros(1, np.uint64)
    assert ask(tier, zero, 16)[1].all()
    tier.put_many(zero, row_of(zero))
    assert not ask(tier, zero, 16)[1].any()


def test_tier_of_no_sets_holds_nothing() -> None:
    tier, keys = RamTier("ram", 16), some_keys(10)
    tier.put_many(keys, row_of(keys))
    assert ask(tier, keys, 16)[1].all()
    assert tier.statistics().bytes == 0


def test_resize_keeps_counts_and_the_same_size_keeps_rows() -> None:
    tier, keys = RamTier("ram", 16, 20), some_keys(10)
    tier.put_many(keys, row_of(keys))
    tier.resize(20)
    assert not ask(tier, keys, 16)[1].any()
    tier.resize(21)
    assert ask(tier, keys, 16)[1].all()
    statistics = tier.statistics()
    assert (statistics.lookups, statistics.hits, statistics.rows) == (20, 10, 0)
    assert statistics.bytes == 21 * (64 + 7 * 16)


def test_keys_must_be_uint64_for_the_compiled_loop() -> None:
    with pytest.raises(TypeError, match="No matching definition"):
        ask(RamTier("ram", 16, 1), np.zeros(1, np.int32), 16)
