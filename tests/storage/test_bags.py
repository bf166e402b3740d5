"""Bags equal the sums and means that numpy makes of their decoded rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.storage.rows.bags import Places, Pooling, pool_rows
from sedp.storage.rows.codec import ROW_FORMATS, Floats, RowFormat, decode_rows, encode_rows

modes: st.SearchStrategy[Pooling] = st.sampled_from(["sum", "mean"])


def twin(rows: Floats, places: Places, offsets: Places, mode: Pooling) -> Floats:
    """`pool_rows` of decoded rows in numpy, a member at a time."""
    out = np.zeros((len(offsets) - 1, rows.shape[1]), np.float32)
    for bag, (start, stop) in enumerate(pairwise(offsets)):
        for place in places[start:stop]:
            out[bag] += rows[place]
        if mode == "mean" and stop > start:
            out[bag] /= np.float32(stop - start)
    return out


def pool(rows: Floats, places: list[int], offsets: list[int], mode: Pooling = "sum") -> Floats:
    out = np.full((max(len(offsets) - 1, 0), rows.shape[1]), 77, np.float32)
    stored = encode_rows(rows, "float32")
    pool_rows(stored, np.array(places, np.int64), np.array(offsets, np.int64), "float32", mode, out)
    return out


@given(
    sizes=st.lists(st.integers(0, 9), max_size=20),
    count=st.integers(1, 12),
    dim=st.integers(1, 40),
    row_format=st.sampled_from(ROW_FORMATS),
    mode=modes,
    seed=st.integers(0, 99),
)
def test_kernels_equal_their_twin(
    sizes: list[int], count: int, dim: int, row_format: RowFormat, mode: Pooling, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stored = encode_rows(rng.normal(size=(count, dim)).astype(np.float32), row_format)
    offsets = np.cumsum([0, *sizes])
    places = rng.integers(0, count, offsets[-1])
    out, decoded = np.full((len(sizes), dim), 77, np.float32), np.empty((count, dim), np.float32)
    pool_rows(stored, places, offsets, row_format, mode, out)
    decode_rows(stored, row_format, decoded)
    assert (out.view(np.uint32) == twin(decoded, places, offsets, mode).view(np.uint32)).all()


def test_members_may_share_a_row_and_a_bag_may_be_empty() -> None:
    rows = np.array([[1, 2], [10, 20]], np.float32)
    places, offsets = [0, 0, 1, 1], [0, 3, 3, 4]
    assert pool(rows, places, offsets).tolist() == [[12, 24], [0, 0], [10, 20]]
    assert pool(rows, places, offsets, "mean").tolist() == [[4, 8], [0, 0], [10, 20]]


@pytest.mark.parametrize(
    ("places", "offsets", "words"),
    [
        ([0, 2], [0, 1, 2], "bag 1 is offsets 1..2 of 2 places in 2 rows"),
        ([0, -1], [0, 1, 2], "bag 1"),
        ([0, 1], [0, 1, 3], "bag 1 is offsets 1..3 of 2 places"),
        ([0, 1], [-1, 1, 2], "bag 0"),
        ([0, 1], [0, 2, 1], "bag 1 is offsets 2..1"),
        ([0, 1], [], "0 offsets for 0 bags"),
    ],
)
def test_offsets_and_places_stay_in_bounds(
    places: list[int], offsets: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        pool(np.zeros((2, 2), np.float32), places, offsets)
