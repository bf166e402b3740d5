"""What an import takes from a file: keys and rows in chunks, in the types the store wants.

Numbers are converted where nothing changes but by rounding a float; all else is refused. A file
gives its rows in one order each time, so an import that was cut off goes on at the row it reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.table_spec import DTYPES
from sedp.storage.tier import Keys

CHUNK_BYTES = 16 << 20

Chunk = tuple[Keys, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file to make a table of; open only while its chunks are taken.

    Args:
        row_count: rows in it, repeated keys included.
        dim: numbers in a row.
        dtype: of the table to make: the one asked for, or the nearest to the file's own.
        columns: names of the numbers; `()` when they have none.
        chunks_from: (uint64[m], dtype[m, dim]) from the file's row N on, 0..row_count; perhaps
            read-only, m at most `chunk_rows`. Raises StoreError at a value that does not fit, or
            if the file cannot be read.
    """

    row_count: int
    dim: int
    dtype: str
    columns: tuple[str, ...]
    chunks_from: Callable[[int], Iterator[Chunk]]

    @property
    def chunks(self) -> Iterator[Chunk]:
        """All of the file."""
        return self.chunks_from(0)


def chunk_rows(dim: int, dtype: str) -> int:
    """Rows of a chunk that takes about `CHUNK_BYTES`, keys included; ≥ 1."""
    return max(1, CHUNK_BYTES // (8 + dim * np.dtype(dtype).itemsize))


def nearest_dtype(path: Path, dtype: np.dtype[Any]) -> str:
    """The table dtype for numbers of `dtype`: its own, else float32 or int64.

    Raises:
        StoreError: they are no numbers.
    """
    if dtype.name in DTYPES:
        return dtype.name
    if dtype.kind not in "fiu":
        raise StoreError(f"{path}: rows are {dtype}; they must be integers or floats")
    return "float32" if dtype.kind == "f" else "int64"


def as_keys(path: Path, ids: NDArray[Any]) -> Keys:
    """uint64[n] of integer ids; negative ones keep their bits.

    Raises:
        StoreError: the ids are no integers.
    """
    if ids.dtype == np.uint64:
        return ids
    if ids.dtype.kind not in "iu":
        raise StoreError(f"{path}: keys are {ids.dtype}; they must be integers")
    return ids.astype(np.int64).view(np.uint64)


def as_rows(path: Path, rows: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The rows as C-contiguous `dtype`.

    Raises:
        StoreError: a value would change, other than by rounding a float.
    """
    wanted = np.dtype(dtype)
    if wanted.kind == "i" and rows.size:
        bounds = np.iinfo(wanted)
        if rows.dtype.kind == "f" or rows.min() < bounds.min or rows.max() > bounds.max:
            raise StoreError(
                f"{path}: rows are {rows.dtype} and do not fit {dtype}; take a wider --dtype, or "
                "round them first"
            )
    return np.ascontiguousarray(rows, dtype=wanted)
