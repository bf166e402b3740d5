"""Which columns of a Parquet or Arrow file make a table, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from sedp.errors import StoreError
from sedp.storage.imports import parquet_file
from sedp.storage.imports.column_file import skip_rows
from sedp.storage.imports.formats import open_table_file
from tests.storage.table_files import joined

suffixes = pytest.mark.parametrize("suffix", ["parquet", "arrow"])

VECTORS = pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))
ADS = pa.table({"ad": [7, 8], "a": [1, 2], "b": [0.5, 1.5], "v": VECTORS, "name": ["x", "y"]})


def save(folder: Path, suffix: str, table: pa.Table) -> Path:
    path = folder / f"t.{suffix}"
    if suffix == "parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


@suffixes
def test_number_columns_make_a_row_in_the_order_named(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path, suffix, ADS)
    file = open_table_file(path, id_column="ad", columns=("b", "a"))
    assert (file.dim, file.dtype, file.columns) == (2, "float32", ("b", "a"))
    keys, rows = joined(file)
    assert (keys, rows.tolist()) == ([7, 8], [[0.5, 1], [1.5, 2]])


@suffixes
def test_without_names_all_columns_but_the_ids_make_a_row(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path, suffix, pa.table({"x": [1, 2], "id": [5, 6], "y": [3, 4]}))
    file = open_table_file(path)
    assert (file.dtype, file.columns) == ("int64", ("x", "y"))
    assert joined(file)[1].tolist() == [[1, 3], [2, 4]]


@suffixes
def test_a_list_column_is_a_row(suffix: str, tmp_path: Path) -> None:
    file = open_table_file(save(tmp_path, suffix, ADS), id_column="ad", columns=("v",))
    assert (file.dim, file.columns) == (2, ())
    assert joined(file, 1)[1].tolist() == [[3, 4]]


@suffixes
def test_values_are_checked_when_they_are_read(suffix: str, tmp_path: Path) -> None:
    pairs = pa.list_(pa.int8(), 2)
    for column in (
        [1, None],
        pa.array([[1, 2], None], pairs),
        pa.array([[1, 2], [3, None]], pairs),
    ):
        path = save(tmp_path, suffix, pa.table({"id": [1, 2], "gaps": column}))
        with pytest.raises(StoreError, match="'gaps' has nulls; fill them"):
            joined(open_table_file(path))


@suffixes
@pytest.mark.parametrize(
    ("id_column", "columns", "words"),
    [
        ("", ("a",), "no column 'id', not one; it has ad, a, b, v, name"),
        ("ad", ("a", "c"), "no column 'c'"),
        ("ad", ("a", "name"), "'name' is string; a row is made of number columns"),
        ("ad", ("a", "v"), "'v' is fixed_size_list.* or of one fixed-size-list column"),
    ],
)
def test_columns_that_make_no_table_are_refused(
    id_column: str, columns: tuple[str, ...], words: str, suffix: str, tmp_path: Path
) -> None:
    path = save(tmp_path, suffix, ADS)
    with pytest.raises(StoreError, match=words) as error:
        open_table_file(path, id_column=id_column, columns=columns)
    assert str(path) in str(error.value)


@suffixes
def test_ids_alone_make_no_rows(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path, suffix, pa.table({"id": [1]}))
    with pytest.raises(StoreError, match="only the column 'id'; a row needs one more"):
        open_table_file(path)


@suffixes
def test_ids_are_integers(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path, suffix, pa.table({"id": [1.0], "x": [1]}))
    with pytest.raises(StoreError, match="keys are double, of column 'id'; they must be integers"):
        open_table_file(path)


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["id", "x", "x"])
    with pytest.raises(StoreError, match="has 2 column 'x', not one"):
        open_table_file(save(tmp_path, "arrow", table))


def test_parquet_skips_the_row_groups_before_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"id": np.arange(20), "x": np.arange(20)})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=10)
    file = open_table_file(tmp_path / "t.parquet")
    skipped: list[int] = []

    def recording(batches: Iterator[Any], count: int) -> Iterator[Any]:
        skipped.append(count)
        return skip_rows(batches, count)

    monkeypatch.setattr(parquet_file, "skip_rows", recording)
    assert joined(file, 12)[0] == list(range(12, 20))
    assert skipped == [2], "rows to skip of the ones decoded"


def test_the_id_may_be_part_of_its_row(tmp_path: Path) -> None:
    file = open_table_file(save(tmp_path, "arrow", ADS), id_column="ad", columns=("ad", "a"))
    assert joined(file)[1].tolist() == [[7, 1], [8, 2]]
