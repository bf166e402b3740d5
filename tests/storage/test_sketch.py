"""The sketch counts as its twin does, never too low, forgets, and forgets in small steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.storage.placement.sketch import COUNTS_PER_KEY, KEYS_PER_LINE, Sketch, halve_lines
from tests.storage.tables import keys_of, some_keys


def mixed(key: int) -> int:
    mask = (1 << 64) - 1
    word = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 & mask
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
    return word ^ (word >> 31)


class Twin:
    """The sketch in plain Python: per line four rows of 32 counters, and the halving hand."""

    def __init__(self, capacity: int) -> None:
        self.lines = -(-capacity // 8)
        self.counters = [[[0] * 32 for _ in range(4)] for _ in range(self.lines)]
        self.counted, self.hand = 0, self.lines

    def cells(self, key: int) -> list[tuple[list[int], int]]:
        line = self.counters[(mixed(key) >> 32) * self.lines >> 32]
        return [(line[row], (mixed(key) >> 8 * row) & 31) for row in range(4)]

    def estimate(self, key: int) -> int:
        lowest = min(row[at] for row, at in self.cells(key))
        is_due = (mixed(key) >> 32) * self.lines >> 32 >= self.hand
        return lowest // 2 if is_due else lowest

    def count_many(self, keys: list[int]) -> None:
        for key in keys:
            lowest = min(row[at] for row, at in self.cells(key))
            for row, at in self.cells(key):
                if row[at] == lowest < 15:
                    row[at] += 1
        self.counted += len(keys)
        if self.counted >= 10 * 8 * self.lines and self.hand == self.lines:
            self.counted = self.hand = 0
        for _ in range(len(keys)):
            if self.hand < self.lines:
                self.counters[self.hand] = [[n // 2 for n in r] for r in self.counters[self.hand]]
                self.hand += 1


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(0, 300), st.integers(0, (1 << 64) - 300), st.integers(0, 99))
def test_sketch_equals_its_twin(capacity: int, most: int, first: int, seed: int) -> None:
    """Batches of up to `most` of 300 keys, the first of them hottest: some lines are crowded."""
    sketch, twin, dice = Sketch(capacity), Twin(capacity), np.random.default_rng(seed)
    every = [first + number for number in range(300)]
    for size in dice.integers(0, most + 1, 8).tolist():
        keys = [every[number] for number in (300 * dice.random(size) ** 4).astype(int)]
        sketch.count_many(keys_of(*keys))
        twin.count_many(keys)
        assert sketch.estimate_many(keys_of(*every)).tolist() == [twin.estimate(k) for k in every]


@given(st.lists(st.integers(0, 200), max_size=600))
def test_nothing_is_estimated_too_low_before_the_first_halving(numbers: list[int]) -> None:
    sketch = Sketch(64)
    sketch.count_many(keys_of(*numbers))
    counts = np.minimum(np.bincount(numbers, minlength=201), 15)
    assert (sketch.estimate_many(np.arange(201, dtype=np.uint64)) >= counts).all()


def test_estimates_are_near_while_keys_are_as_many_as_the_capacity() -> None:
    keys = some_keys(10_000)
    times = np.arange(len(keys)) % 10  # 0..9 accesses, 4.5 a key: no halving
    sketch = Sketch(len(keys))
    sketch.count_many(np.random.default_rng(0).permutation(np.repeat(keys, times)))
    error = sketch.estimate_many(keys) - times
    assert error.min() >= 0
    assert error.mean() < 0.15
    assert np.count_nonzero(error) < 0.1 * len(keys)


def test_what_is_no_longer_asked_for_is_forgotten() -> None:
    hot, others = some_keys(10, seed=1), some_keys(1000, seed=2)
    sketch = Sketch(1000)
    sketch.count_many(np.repeat(hot, 15))
    assert (sketch.estimate_many(hot) == 15).all()
    for _ in range(5 * COUNTS_PER_KEY):
        sketch.count_many(others)
    assert (sketch.estimate_many(hot) < sketch.estimate_many(others).mean()).all()


def test_a_call_halves_no_more_lines_than_it_counts_keys() -> None:
    lines, key = 100, keys_of(7)
    sketch = Sketch(lines * KEYS_PER_LINE)
    sketch._words[:] = np.uint64(0x2222222222222222)
    halved = np.uint64(0x1111111111111111)
    sketch.count_many(np.repeat(key, lines * KEYS_PER_LINE * COUNTS_PER_KEY - 1))
    assert not (sketch._words == halved).any()
    sketch.count_many(key)
    assert (sketch._words == halved).any(axis=1).sum() == 1
    for calls in range(2, lines + 1):
        sketch.count_many(key)
        assert (sketch._words == halved).any(axis=1).sum() <= calls
    assert (sketch._words == halved).any(axis=1).sum() >= lines - 1


def test_a_line_not_yet_halved_is_read_as_half() -> None:
    """Else admission would compare a count from before the halving with one from after."""
    keys = some_keys(800)
    sketch = Sketch(800)
    sketch._words[:] = np.uint64(0x8888888888888888)
    sketch._counted = sketch._period
    sketch.count_many(keys[:50])
    assert set(sketch.estimate_many(keys).tolist()) <= {4, 5}


def test_halving_takes_no_bit_from_the_neighbour() -> None:
    words = np.full((1, 8), 0xF1F1F1F1F1F1F1F1, np.uint64)
    halve_lines(words, 0, 1)
    assert (words == np.uint64(0x7070707070707070)).all()


@pytest.mark.parametrize(("capacity", "size"), [(1, 64), (8, 64), (9, 128), (1_000_000, 8_000_000)])
def test_memory_is_eight_bytes_a_key_in_whole_lines(capacity: int, size: int) -> None:
    sketch = Sketch(capacity)
    assert sketch.bytes == size
    assert sketch._words.ctypes.data % 64 == 0


@pytest.mark.parametrize("capacity", [0, -1, (1 << 34) + 1])
def test_capacity_out_of_bounds_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"capacity {capacity} must be"):
        Sketch(capacity)
