"""Tables from NPZ: arrays `keys`, integers [n], and `rows`, [n, dim] or [n]. Never unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.table_file import CHUNK_ROWS, TableFile, as_keys, as_rows, nearest_dtype
from sedp.storage.tier import Keys


def open_npz(path: Path, dtype: str = "", columns: tuple[str, ...] = ()) -> TableFile:
    """Open an NPZ file; both arrays are read into memory.

    Args:
        dtype: of the table; "" takes the nearest to the file's own.
        columns: names for the numbers of a row.

    Raises:
        StoreError: it is no NPZ file, or has not these arrays.
    """
    keys, rows = _read(path)
    if rows.ndim == 1:
        rows = rows[:, np.newaxis]
    if keys.ndim != 1 or rows.ndim != 2 or len(rows) != len(keys):
        raise StoreError(
            f"{path}: keys is {list(keys.shape)} and rows is {list(rows.shape)}; they must be "
            "[n] and [n, dim]"
        )
    wanted = dtype or nearest_dtype(path, rows.dtype)
    chunks = _chunks(path, keys, rows, wanted)
    return TableFile(len(keys), rows.shape[1], wanted, columns, chunks)


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["keys"], archive["rows"]
    except KeyError as err:
        raise StoreError(f"{path}: {err.args[0]}; it must hold arrays 'keys' and 'rows'") from err
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as err:
        raise StoreError(f"{path} cannot be read as NPZ: {err}") from err


def _chunks(
    path: Path, keys: NDArray[Any], rows: NDArray[Any], dtype: str
) -> Iterator[tuple[Keys, NDArray[Any]]]:
    for start in range(0, len(keys), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        yield as_keys(path, keys[part]), as_rows(path, rows[part], dtype)
