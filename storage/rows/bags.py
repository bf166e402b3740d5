"""Embedding bags: the sum or mean of several stored rows, decoded in the same pass.

Rows are added in the order given, in float32, so the same bag always gives the same bits.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sedp.storage.rows.codec import Floats, RowFormat, as_codes, compiled_for_formats, number
from sedp.storage.tier import Rows

Pooling = Literal["sum", "mean"]
Places = NDArray[np.int64]


def pool_rows(
    stored: Rows,
    places: Places,
    offsets: Places,
    row_format: RowFormat,
    mode: Pooling,
    out: Floats,
) -> None:
    """Write one row a bag; an empty bag gives zeros.

    Args:
        stored: uint8[n, stored_bytes], C-contiguous and aligned to 4 bytes.
        places: int64[m], 0..n-1: which row each member of a bag is; members may share one.
        offsets: int64[b + 1], 0..m, ascending; bag `i` is `places[offsets[i]:offsets[i + 1]]`.
        out: float32[b, dim], C-contiguous.

    Raises:
        ValueError: an offset or place is out of bounds; `out` is then written in part.
        TypeError: an array has another dtype or layout.
    """
    if len(offsets) != len(out) + 1:
        raise ValueError(f"{len(offsets)} offsets for {len(out)} bags; give one more than bags")
    bad = _POOLERS[row_format](
        as_codes(stored, row_format),
        stored.view(np.float32),
        row_format == "int8",
        places,
        offsets,
        mode == "mean",
        out,
    )
    if bad >= 0:
        raise ValueError(
            f"bag {bad} is offsets {offsets[bad]}..{offsets[bad + 1]} of {len(places)} places in "
            f"{len(stored)} rows; offsets must ascend, and both stay in bounds"
        )


def _pool(
    codes: NDArray[Any],
    words: Floats,
    is_scaled: bool,
    places: Places,
    offsets: Places,
    is_mean: bool,
    out: Floats,
) -> int:
    """The index of the first bag out of bounds, or -1."""
    dim, last = out.shape[1], words.shape[1] - 1
    for bag in range(out.shape[0]):
        start, stop = offsets[bag], offsets[bag + 1]
        if start < 0 or start > stop or stop > places.size:
            return bag
        for j in range(dim):
            out[bag, j] = 0
        for at in range(start, stop):
            place = places[at]
            if place < 0 or place >= codes.shape[0]:
                return bag
            scale = words[place, last] if is_scaled else np.float32(1)
            for j in range(dim):
                out[bag, j] += number(codes[place, j]) * scale
        if is_mean and stop > start:
            for j in range(dim):  # `/` would check for zero each time and not vectorise
                out[bag, j] = np.divide(out[bag, j], np.float32(stop - start))
    return -1


_POOLERS = compiled_for_formats(
    _pool,
    "int64(Array({code}, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), boolean,"
    " Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), boolean,"
    " float32[:, ::1])",
)
