"""Tables from Arrow IPC, the file format (Feather version 2 too) and the stream format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sedp.storage.imports.column_file import open_column_file, skip_rows
from sedp.storage.imports.table_file import TableFile

_FILE_MAGIC = b"ARROW1"


def open_arrow(
    path: Path, dtype: str = "", columns: tuple[str, ...] = (), id_column: str = ""
) -> TableFile:
    """Open an Arrow file or stream; the arguments are those of `open_column_file`.

    Raises:
        StoreError: pyarrow is not installed, it is no Arrow file, or its columns do not fit.
    """
    return open_column_file(_open, path, dtype, columns, id_column)


@contextmanager
def _open(path: Path) -> Iterator[_ArrowFile]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        yield _ArrowFile(source)


class _ArrowFile:
    """Neither format tells its number of rows.

    What is not compressed is used where it is mapped, but only if all columns are asked for: of a
    selection, pyarrow copies a whole record batch at a time, and one may be all of the file.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        with self._reader() as reader:
            self.schema = reader.schema

    def row_count(self, name: str) -> int:
        with self._reader([self.schema.get_field_index(name)]) as reader:
            return sum(batch.num_rows for batch in _all_batches(reader))

    def batches(self, row: int, names: Sequence[str], count: int) -> Iterator[Any]:
        with self._reader() as reader:
            yield from skip_rows(_all_batches(reader), row)

    def _reader(self, places: Sequence[int] = ()) -> Any:
        from pyarrow import ipc

        options = ipc.IpcReadOptions(included_fields=list(places))
        self._source.seek(0)
        is_file = self._source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        self._source.seek(0)
        return (ipc.open_file if is_file else ipc.open_stream)(self._source, options=options)


def _all_batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "get_batch"):  # the file format is read at random
        return map(reader.get_batch, range(reader.num_record_batches))
    return iter(reader)
