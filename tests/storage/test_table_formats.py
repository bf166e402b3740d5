"""Every kind of file gives the same table, in chunks, from any row on, or says what is wrong."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import ConfigError, StoreError
from sedp.storage.imports.formats import open_table_file
from sedp.storage.imports.table_file import chunk_rows
from tests.storage.table_files import WRITERS, joined, set_chunk_rows

COUNT, DIM = 40, 3
KEYS = np.arange(COUNT) * 7 - 5
ROWS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)

kinds = pytest.mark.parametrize("kind", WRITERS)


def written(folder: Path, kind: str) -> Path:
    name, write = WRITERS[kind]
    write(folder / name, KEYS, ROWS)
    return folder / name


@kinds
def test_rows_come_in_chunks_from_any_row_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk_rows(monkeypatch, 5, DIM)
    file = open_table_file(written(tmp_path, kind))
    assert (file.row_count, file.dim, file.dtype, file.columns) == (COUNT, DIM, "float32", ())
    assert max(len(keys) for keys, _ in file.chunks) == 5
    for row in (*range(16), COUNT - 1, COUNT):
        keys, rows = joined(file, row)
        assert keys == KEYS[row:].tolist()
        assert (rows == ROWS[row:]).all()


@kinds
def test_two_readers_of_a_file_do_not_disturb_each_other(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk_rows(monkeypatch, 5, DIM)
    file = open_table_file(written(tmp_path, kind))
    pairs = list(zip(file.chunks_from(0), file.chunks_from(21), strict=False))
    firsts, seconds = (
        np.concatenate([rows for _, rows in side]) for side in zip(*pairs, strict=True)
    )
    assert (firsts == ROWS[: len(firsts)]).all()
    assert (seconds == ROWS[21 : 21 + len(seconds)]).all()


@kinds
def test_no_rows_are_no_chunks(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name, KEYS[:0], ROWS[:0])
    file = open_table_file(tmp_path / name)
    assert file.row_count == 0
    assert joined(file)[0] == []


@kinds
def test_a_shortened_file_is_refused_or_told_of(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    data = path.read_bytes()
    for length in (0, 3, 20, len(data) // 2, len(data) * 9 // 10):
        path.write_bytes(data[:length])
        with pytest.raises(StoreError, match=r"cannot be read.* anew") as error:
            joined(open_table_file(path))
        assert str(path) in str(error.value)


@kinds
def test_another_kind_of_file_under_the_name_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / WRITERS[kind][0]
    path.write_text("key,row\n" * 100)
    with pytest.raises(StoreError, match=r"cannot be read.* anew"):
        open_table_file(path)


@kinds
def test_rows_are_rounded_to_the_dtype_wanted(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name, KEYS, ROWS.astype(np.float64) / 3)
    rows = joined(open_table_file(tmp_path / name))[1]
    assert (rows == (ROWS.astype(np.float64) / 3).astype(np.float32)).all()
    with pytest.raises(StoreError, match="do not fit int32; take a wider --dtype"):
        joined(open_table_file(tmp_path / name, dtype="int32"))


@pytest.mark.parametrize("kind", ["npz", "compressed npz", "safetensors"])
def test_arrays_are_never_in_memory_whole(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk_rows(monkeypatch, 1 << 12, 16)
    name, write = WRITERS[kind]
    write(tmp_path / name, np.arange(1 << 18), np.zeros((1 << 18, 16), np.float32))
    tracemalloc.start()
    for _ in open_table_file(tmp_path / name).chunks:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20, "of a file of 18 MB"


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("t.parquet", "pyarrow", "arrow"),
        ("t.arrow", "pyarrow", "arrow"),
        ("t.safetensors", "safetensors", "safetensors"),
        ("t.safetensors", "ml_dtypes", "safetensors"),
    ],
)
def test_a_missing_package_is_named_by_its_extra(
    name: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StoreError, match=rf"pip install sedp\[{extra}\]"):
        open_table_file(tmp_path / name)


def test_settings_of_the_other_kind_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--id 'ad' is for \.parquet, .*; leave it out"):
        open_table_file(tmp_path / "a.npz", id_column="ad")
    with pytest.raises(ConfigError, match=r"--tensor 'w' is for \.npz, \.safetensors; leave"):
        open_table_file(tmp_path / "a.parquet", tensor="w")
    with pytest.raises(ConfigError, match=r"suffix '\.csv' is not known; use \.npz, "):
        open_table_file(tmp_path / "a.csv")


def test_chunks_of_wide_rows_have_fewer() -> None:
    assert chunk_rows(1, "float32") == (16 << 20) // 12
    assert chunk_rows(4096, "int64") == 511
    assert chunk_rows(1 << 30, "int64") == 1
