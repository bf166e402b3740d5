"""Tables from files of Arrow columns, as Parquet and Arrow IPC are.

A column of integers is the keys; a row is made of one fixed-size-list column, or of several number
columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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

DEFAULT_ID = "id"


class ColumnFile(Protocol):
    """A file while it is open."""

    @property
    def schema(self) -> Any:
        """pyarrow.Schema."""

    def row_count(self, name: str) -> int:
        """Rows of the file; where it does not say, by walking through column `name`."""

    def batches(self, row: int, names: Sequence[str], count: int) -> Iterator[Any]:
        """pyarrow.RecordBatch from a row on, with these columns at least.

        They are of `count` rows where the file leaves a choice.
        """


Opener = Callable[[Path], AbstractContextManager[ColumnFile]]


def open_column_file(
    opener: Opener, path: Path, dtype: str, columns: tuple[str, ...], id_column: str
) -> TableFile:
    """See which columns make the table, and whether they fit.

    Args:
        opener: raises StoreError if it is no such file.
        dtype: of the table; "" takes the nearest to the file's own.
        columns: what makes a row, in this order; `()` takes all but the ids.
        id_column: where the keys are; "" is `DEFAULT_ID`.

    Raises:
        StoreError: a column is missing, or has a type that no key or row can be made of.
    """
    id_column = id_column or DEFAULT_ID
    with arrow_told(path), opener(path) as file:
        values = _chosen(path, file.schema, columns, id_column)
        dim, own = _row_type(path, [file.schema.field(name) for name in values])
        wanted = dtype or nearest_dtype(path, own)
        count = file.row_count(id_column)

    def chunks_from(row: int) -> Iterator[Chunk]:
        with arrow_told(path), opener(path) as file:
            step = chunk_rows(dim, wanted)
            for batch in file.batches(row, [id_column, *values], step):
                for start in range(0, batch.num_rows, step):
                    part = batch.slice(start, step)
                    keys = as_keys(path, _numbers(path, part, id_column))
                    yield keys, as_rows(path, _rows(path, part, values), wanted)

    return TableFile(count, dim, wanted, values if dim == len(values) else (), chunks_from)


@contextmanager
def arrow_told(path: Path) -> Iterator[None]:
    """Tell that pyarrow is missing, or what it has against the file, as StoreErrors."""
    try:
        import pyarrow as pa
    except ImportError as err:
        raise StoreError(
            f"{path}: reading it needs pyarrow; install it with `pip install sedp[arrow]`"
        ) from err
    try:
        yield
    except (OSError, pa.ArrowException) as err:
        raise StoreError(f"{path} cannot be read: {err}; write it anew") from err


def skip_rows(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """The record batches without the first `count` rows."""
    for batch in batches:
        if count < batch.num_rows:
            yield batch.slice(count)
        count = max(0, count - batch.num_rows)


def _chosen(path: Path, schema: Any, columns: tuple[str, ...], id_column: str) -> tuple[str, ...]:
    from pyarrow import types

    values = columns or tuple(name for name in schema.names if name != id_column)
    for name in (id_column, *values):
        if schema.names.count(name) != 1:
            raise StoreError(
                f"{path} has {schema.names.count(name) or 'no'} column {name!r}, not one; it has "
                + ", ".join(schema.names)
            )
    if not values:
        raise StoreError(f"{path} has only the column {id_column!r}; a row needs one more")
    if not types.is_integer(schema.field(id_column).type):
        raise StoreError(
            f"{path}: keys are {schema.field(id_column).type}, of column {id_column!r}; they must "
            "be integers: choose their column with --id"
        )
    return values


def _row_type(path: Path, fields: list[Any]) -> tuple[int, np.dtype[Any]]:
    """Numbers in a row, and the dtype that holds them all."""
    from pyarrow import types

    is_list = len(fields) == 1 and types.is_fixed_size_list(fields[0].type)
    kinds = [fields[0].type.value_type] if is_list else [field.type for field in fields]
    for field, kind in zip(fields, kinds, strict=True):
        if not (types.is_integer(kind) or types.is_floating(kind)):
            raise StoreError(
                f"{path}: column {field.name!r} is {field.type}; a row is made of number columns, "
                "or of one fixed-size-list column of numbers: choose them with --columns"
            )
    dim = fields[0].type.list_size if is_list else len(fields)
    return dim, np.result_type(*(kind.to_pandas_dtype() for kind in kinds))


def _rows(path: Path, batch: Any, names: Sequence[str]) -> NDArray[Any]:
    parts = [_numbers(path, batch, name).reshape(batch.num_rows, -1) for name in names]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _numbers(path: Path, batch: Any, name: str) -> NDArray[Any]:
    column = batch.column(name)
    flat = column.flatten() if hasattr(column, "flatten") else column
    if column.null_count or flat.null_count:
        raise StoreError(f"{path}: column {name!r} has nulls; fill them before the import")
    numbers: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return numbers
