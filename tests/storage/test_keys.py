"""Keys are the same everywhere, depend on order and salt, and spread over all 64 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sedp.storage.rows.keys import combine, combine_slots, salt_of


def twin(columns: list[NDArray[np.int64]], salt: int) -> list[int]:
    """`combine` in plain Python integers."""
    mask = (1 << 64) - 1

    def mix(word: int) -> int:
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & mask
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB & mask
        return word ^ (word >> 31)

    keys = [salt] * len(columns[0])
    for column in columns:
        pairs = zip(keys, column.tolist(), strict=True)
        keys = [mix((key + 0x9E3779B97F4A7C15 & mask) ^ (value & mask)) for key, value in pairs]
    return keys


@given(
    hnp.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(0, 8))),
    st.integers(0, (1 << 64) - 1),
)
def test_kernel_equals_its_twin(columns: NDArray[np.int64], salt: int) -> None:
    assert combine(list(columns), salt).tolist() == twin(list(columns), salt)


def test_keys_are_the_same_on_every_machine() -> None:
    keys = combine([np.array([1, -1]), np.array([2, 3])], salt_of("user"))
    assert salt_of("user") == 7173623408806911919
    assert keys.tolist() == [18229334410948759157, 734791747166910133]


def test_integers_of_any_width_give_the_same_key() -> None:
    wide = combine([np.array([1, 200])], 5)
    for dtype in (np.uint8, np.int16, np.uint64):
        assert (combine([np.array([1, 200], dtype)], 5) == wide).all()


def test_strided_and_read_only_columns_are_taken() -> None:
    column = np.arange(10)[::2]
    column.flags.writeable = False
    assert (combine([column], 5) == combine([column.copy()], 5)).all()


def test_order_and_salt_matter() -> None:
    first, second = np.arange(1000), np.arange(1000) + 5
    keys = [combine([first, second], 1), combine([second, first], 1), combine([first, second], 2)]
    assert len(np.unique(np.concatenate(keys))) == 3000


def test_grid_of_small_numbers_spreads_evenly() -> None:
    first, second = (axis.ravel() for axis in np.meshgrid(np.arange(300), np.arange(300)))
    keys = combine([first, second], salt_of("slot"))
    assert len(np.unique(keys)) == 90_000
    ones = [np.count_nonzero(keys >> np.uint64(bit) & np.uint64(1)) for bit in range(64)]
    assert 44_000 < min(ones) < max(ones) < 46_000  # six standard deviations of a fair coin


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([], "at least one column"),
        ([np.array([1.0])], "column 0 is float64"),
        ([np.arange(2), np.arange(3)], "column 1 is int64\\[3\\]; every column must hold 2"),
    ],
)
def test_wrong_columns_are_refused(columns: list[NDArray[np.int64]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        combine(columns, 0)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1, max_size=5),
    st.integers(0, 20),
)
def test_slots_combined_at_once_equal_slots_combined_alone(
    slots: list[list[int]], count: int
) -> None:
    columns = np.random.default_rng(count).integers(-(2**63), 2**63 - 1, (4, count))
    salts = np.array([salt_of(f"slot {place}") for place in range(len(slots))], np.uint64)
    members = np.array([member for slot in slots for member in slot])
    keys = np.empty((count, len(slots)), np.uint64)
    combine_slots(columns, salts, members, np.cumsum([len(slot) for slot in slots]), keys)
    for place, slot in enumerate(slots):
        alone = combine([columns[member] for member in slot], int(salts[place]))
        np.testing.assert_array_equal(keys[:, place], alone)
