"""Tables from Parquet: a column of ids, and one fixed-size-list column or several of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.table_file import CHUNK_ROWS, TableFile, as_keys, as_rows, nearest_dtype
from sedp.storage.tier import Keys


def open_parquet(
    path: Path, dtype: str = "", columns: tuple[str, ...] = (), id_column: str = "id"
) -> TableFile:
    """Open a Parquet file; it is read in batches.

    Args:
        dtype: of the table; "" takes the nearest to the file's own.
        columns: what makes a row, in this order; `()` takes all but the ids.
        id_column: where the keys are.

    Raises:
        StoreError: pyarrow is not installed, it is no Parquet file, or a column is missing or
            has a type that no row can be made of.
    """
    file = _open(path)
    schema = file.schema_arrow
    values = columns or tuple(name for name in schema.names if name != id_column)
    for name in (id_column, *values):
        if name not in schema.names:
            raise StoreError(f"{path} has no column {name!r}; it has {', '.join(schema.names)}")
    if not values:
        raise StoreError(f"{path} has only the column {id_column!r}; a row needs one more")
    dim, own = _row_type(path, [schema.field(name) for name in values])
    wanted = dtype or nearest_dtype(path, own)
    names = values if dim == len(values) else ()
    chunks = _chunks(path, file, id_column, values, wanted)
    return TableFile(file.metadata.num_rows, dim, wanted, names, chunks)


def _open(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError as err:
        raise StoreError(
            f"{path}: reading Parquet needs pyarrow; install it with `pip install sedp[arrow]`"
        ) from err
    try:
        return ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as err:
        raise StoreError(f"{path} cannot be read as Parquet: {err}") from err


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


def _chunks(
    path: Path, file: Any, id_column: str, values: tuple[str, ...], dtype: str
) -> Iterator[tuple[Keys, NDArray[Any]]]:
    for batch in file.iter_batches(CHUNK_ROWS, columns=[id_column, *values]):
        keys = as_keys(path, _numbers(path, batch, id_column))
        parts = [_numbers(path, batch, name).reshape(len(keys), -1) for name in values]
        yield keys, as_rows(path, np.concatenate(parts, axis=1), dtype)


def _numbers(path: Path, batch: Any, name: str) -> NDArray[Any]:
    column = batch.column(name)
    flat = column.flatten() if hasattr(column, "flatten") else column
    if column.null_count or flat.null_count:
        raise StoreError(f"{path}: column {name!r} has nulls; fill them before the import")
    numbers: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return numbers
