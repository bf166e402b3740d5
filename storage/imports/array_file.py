"""Tables from files of named arrays, as NPZ and safetensors are.

Either arrays `keys`, integers [n], and `rows`, [n, dim] or [n]; or one array of rows alone, whose
keys are 0, 1, 2, …: the embedding matrix of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.imports.table_file import (
    Chunk,
    TableFile,
    as_keys,
    as_rows,
    chunk_rows,
    nearest_dtype,
)


class Array(Protocol):
    """An array in a file, read a few rows at a time, in ascending order best."""

    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """dtype[stop - start, …]; StoreError if they cannot be read."""


class ArrayFile(Protocol):
    """A file while it is open."""

    @property
    def names(self) -> Sequence[str]: ...

    def array(self, name: str) -> Array:
        """One of `names`; StoreError if it holds no numbers."""


Opener = Callable[[Path], AbstractContextManager[ArrayFile]]


def open_array_file(
    opener: Opener, path: Path, dtype: str, columns: tuple[str, ...], tensor: str
) -> TableFile:
    """See which arrays make the table, and whether they fit.

    Args:
        opener: raises StoreError if it is no such file.
        dtype: of the table; "" takes the nearest to the file's own.
        columns: names for the numbers of a row.
        tensor: the array of rows whose keys are their places; "" looks for `keys` and `rows`, and
            takes the only array of a file that has but one.

    Raises:
        StoreError: the file has not these arrays, or they do not fit together.
    """
    with opener(path) as file:
        name, has_keys = _choose(path, file, tensor)
        rows = file.array(name)
        count, dim = _row_shape(path, name, rows)
        if has_keys:
            _check_keys(path, file.array("keys"), count)
        wanted = dtype or nearest_dtype(path, rows.dtype)

    def chunks_from(row: int) -> Iterator[Chunk]:
        with opener(path) as file:
            rows, keys = file.array(name), file.array("keys") if has_keys else None
            step = chunk_rows(dim, wanted)
            for start in range(row, count, step):
                stop = min(start + step, count)
                part = rows.read(start, stop).reshape(-1, dim)
                ids = np.arange(start, stop) if keys is None else keys.read(start, stop)
                yield as_keys(path, ids), as_rows(path, part, wanted)

    return TableFile(count, dim, wanted, columns, chunks_from)


def _choose(path: Path, file: ArrayFile, tensor: str) -> tuple[str, bool]:
    """The array of rows, and whether `keys` go with it."""
    names = file.names
    held = ", ".join(map(repr, sorted(names))) or "nothing"
    if tensor:
        if tensor not in names:
            raise StoreError(f"{path} has no array {tensor!r}; it holds {held}")
        return tensor, False
    if "keys" in names and "rows" in names:
        return "rows", True
    if len(names) == 1 and len(file.array(names[0]).shape) == 2:
        return names[0], False
    lacking = "rows" if "keys" in names else "keys"
    raise StoreError(
        f"{path} has no array {lacking!r}, it holds {held}; it must hold arrays 'keys' and 'rows', "
        "or one [n, dim] whose keys are 0 to n-1: choose it with --tensor"
    )


def _row_shape(path: Path, name: str, rows: Array) -> tuple[int, int]:
    if len(rows.shape) not in (1, 2):
        raise StoreError(f"{path}: array {name!r} is {list(rows.shape)}; rows are [n, dim] or [n]")
    return rows.shape[0], rows.shape[1] if len(rows.shape) == 2 else 1


def _check_keys(path: Path, keys: Array, count: int) -> None:
    if tuple(keys.shape) != (count,):
        raise StoreError(
            f"{path}: keys is {list(keys.shape)}, but there are {count} rows; they must be [n] and "
            "[n, dim]"
        )
    as_keys(path, np.empty(0, keys.dtype))
