"""Writes one small table as every kind of file that an import takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import feather, ipc, parquet
from safetensors.numpy import save_file

from sedp.storage.imports import table_file
from sedp.storage.imports.table_file import TableFile

Keys = NDArray[np.int64]
Rows = NDArray[Any]


def write_npz(path: Path, keys: Keys, rows: Rows) -> None:
    np.savez(path, keys=keys, rows=rows)


def write_compressed_npz(path: Path, keys: Keys, rows: Rows) -> None:
    np.savez_compressed(path, keys=keys, rows=rows)


def write_fortran_npz(path: Path, keys: Keys, rows: Rows) -> None:
    np.savez(path, keys=keys, rows=np.asfortranarray(rows))


def write_safetensors(path: Path, keys: Keys, rows: Rows) -> None:
    save_file({"keys": keys, "rows": rows}, path)


def as_arrow(keys: Keys, rows: Rows) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    return pa.table({"rows": vectors, "id": keys})


def write_parquet(path: Path, keys: Keys, rows: Rows) -> None:
    parquet.write_table(as_arrow(keys, rows), path, row_group_size=7)


def write_arrow(path: Path, keys: Keys, rows: Rows) -> None:
    table = as_arrow(keys, rows)
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def write_arrow_stream(path: Path, keys: Keys, rows: Rows) -> None:
    table = as_arrow(keys, rows)
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def write_feather(path: Path, keys: Keys, rows: Rows) -> None:
    feather.write_feather(as_arrow(keys, rows), str(path), compression="lz4")


Writer = Callable[[Path, Keys, Rows], None]

WRITERS: Mapping[str, tuple[str, Writer]] = {
    "npz": ("t.npz", write_npz),
    "compressed npz": ("t.npz", write_compressed_npz),
    "fortran npz": ("t.npz", write_fortran_npz),
    "safetensors": ("t.safetensors", write_safetensors),
    "parquet": ("t.parquet", write_parquet),
    "arrow": ("t.arrow", write_arrow),
    "arrow stream": ("t.arrows", write_arrow_stream),
    "feather": ("t.feather", write_feather),
}


def set_chunk_rows(monkeypatch: pytest.MonkeyPatch, count: int, dim: int) -> None:
    """Chunks of `count` rows of a float32 table."""
    monkeypatch.setattr(table_file, "CHUNK_BYTES", count * (8 + 4 * dim))


def joined(file: TableFile, row: int = 0) -> tuple[list[int], Rows]:
    """All keys and rows from a row of the file on."""
    chunks = list(file.chunks_from(row))
    empty = np.empty((0, file.dim), file.dtype)
    keys = [key for keys, _ in chunks for key in keys.view(np.int64).tolist()]
    return keys, np.concatenate([empty, *(rows for _, rows in chunks)])
