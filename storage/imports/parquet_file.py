"""Tables from Parquet; row groups before the row wanted are not decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sedp.storage.imports.column_file import open_column_file, skip_rows
from sedp.storage.imports.table_file import TableFile


def open_parquet(
    path: Path, dtype: str = "", columns: tuple[str, ...] = (), id_column: str = ""
) -> TableFile:
    """Open a Parquet file; the arguments are those of `open_column_file`.

    Raises:
        StoreError: pyarrow is not installed, it is no Parquet file, or its columns do not fit.
    """
    return open_column_file(_open, path, dtype, columns, id_column)


@contextmanager
def _open(path: Path) -> Iterator[_ParquetFile]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path, memory_map=True) as file:
        yield _ParquetFile(file)


class _ParquetFile:
    def __init__(self, file: Any) -> None:
        self._file = file
        self.schema = file.schema_arrow

    def row_count(self, name: str) -> int:
        count: int = self._file.metadata.num_rows
        return count

    def batches(self, row: int, names: Sequence[str], count: int) -> Iterator[Any]:
        metadata = self._file.metadata
        first = 0
        while first < metadata.num_row_groups and row >= metadata.row_group(first).num_rows:
            row -= metadata.row_group(first).num_rows
            first += 1
        groups = list(range(first, metadata.num_row_groups))
        batches = self._file.iter_batches(count, row_groups=groups, columns=list(names))
        return skip_rows(batches, row)
