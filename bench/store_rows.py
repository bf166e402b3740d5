"""A table of any size, made chunk by chunk: no key or row of it need be remembered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sedp.storage.rows.keys import mix_all
from sedp.storage.tier import Keys

CHUNK_ROWS = 1 << 18


def make_keys(ids: NDArray[np.int64]) -> Keys:
    """uint64[n] keys all over their range, a different one for each id."""
    return mix_all(ids.astype(np.uint64))


def make_rows(keys: Keys, dim: int) -> NDArray[np.float32]:
    """float32[n, dim], a function of the keys."""
    rows = np.empty((len(keys), dim), dtype=np.float32)
    np.add((keys >> np.uint64(44))[:, np.newaxis], np.arange(dim), out=rows, casting="unsafe")
    return rows


def make_chunks(rows: int, dim: int) -> Iterator[tuple[Keys, NDArray[np.float32]]]:
    """The rows of ids 0..rows-1, as an import takes them."""
    for start in range(0, rows, CHUNK_ROWS):
        keys = make_keys(np.arange(start, min(start + CHUNK_ROWS, rows)))
        yield keys, make_rows(keys, dim)
