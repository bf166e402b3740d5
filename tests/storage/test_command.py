"""`sedp store` from file to verdict, as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from sedp.cli.main import group
from sedp.errors import SedpError, StoreError
from sedp.storage.store import ParameterStore
from tests.storage.tables import keys_of, look_up


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(group, ["store", *map(str, words)])
    if isinstance(result.exception, SedpError):
        raise result.exception
    return result


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    file = tmp_path / "rows.npz"
    np.savez(file, keys=np.array([5, -1, 5]), rows=np.array([[1.0, 2.0], [3.0, 4.0], [5.5, 6.0]]))
    return file


def test_npz_round_trips(npz: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    result = run("import", path, "user", npz, "--columns", "ctr, price", "--default", "-1,0.5")
    assert result.output == "table 'user': version 1 is current\n"
    assert "version 2" in run("import", path, "user", npz).output
    with ParameterStore.open(path) as store:
        spec = store.table("user", 1).spec
        assert (spec.dtype, spec.columns, spec.default) == ("float32", ("ctr", "price"), (-1, 0.5))
        rows, missing = look_up(store.table("user", 1), keys_of(5, (1 << 64) - 1, 6))
    assert rows.tolist() == [[5.5, 6.0], [3.0, 4.0], [-1.0, 0.5]]
    assert missing.tolist() == [False, False, True]


def test_one_default_is_for_every_column_and_rows_may_be_flat(tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", keys=np.arange(3), rows=np.zeros((3, 4), np.int32))
    np.savez(tmp_path / "flat.npz", keys=np.arange(3), rows=np.arange(3, dtype=np.uint8))
    run("import", tmp_path / "s", "wide", tmp_path / "wide.npz", "--default", "7")
    run("import", tmp_path / "s", "flat", tmp_path / "flat.npz", "--dtype", "int32")
    with ParameterStore.open(tmp_path / "s") as store:
        assert look_up(store.table("wide"), keys_of(9))[0].tolist() == [[7] * 4]
        assert look_up(store.table("flat"), keys_of(2))[0].tolist() == [[2]]


def test_parquet_columns_and_lists_round_trip(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    vectors = pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))
    table = pa.table({"ad": [7, 8], "a": [1, 2], "b": [0.5, 1.5], "v": vectors})
    write_table(table, tmp_path / "ads.parquet")
    file, path = tmp_path / "ads.parquet", tmp_path / "s"
    run("import", path, "scalars", file, "--id", "ad", "--columns", "b,a")
    run("import", path, "vectors", file, "--id", "ad", "--columns", "v")
    with ParameterStore.open(path) as store:
        assert store.table("scalars").spec.columns == ("b", "a")
        assert look_up(store.table("scalars"), keys_of(7, 8))[0].tolist() == [[0.5, 1], [1.5, 2]]
        assert store.table("vectors").spec.columns == ()
        assert look_up(store.table("vectors"), keys_of(8, 7))[0].tolist() == [[3, 4], [1, 2]]


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r"pip install sedp\[arrow\]"):
        run("import", tmp_path / "s", "a", tmp_path / "a.parquet")


def test_stats_tell_tables_in_words_and_json(npz: Path, tmp_path: Path) -> None:
    run("import", tmp_path / "s", "user", npz)
    run("import", tmp_path / "s", "user", npz)
    text = run("stats", tmp_path / "s").output
    assert "user" in text
    assert "float32[2]" in text
    [table] = json.loads(run("stats", tmp_path / "s", "--json").output)["tables"]
    assert (table["name"], table["version"], table["versions"]) == ("user", 2, [1, 2])
    assert table["rows"] == 2
    assert table["lmdb_bytes"] > 0
    assert table["rocksdb_bytes"] > 0


def test_verify_says_sound_or_exits_1(npz: Path, tmp_path: Path) -> None:
    run("import", tmp_path / "s", "user", npz)
    result = run("verify", tmp_path / "s")
    assert result.exit_code == 0
    assert "user version 1 in rocksdb: sound, 2 of 2 rows, 0 corrupt" in result.output
    file = tmp_path / "s" / "lmdb" / "data.mdb"
    data = bytearray(file.read_bytes())
    data[data.find(np.array([5.5, 6.0], np.float32).tobytes())] ^= 1
    file.write_bytes(data)
    result = run("verify", tmp_path / "s")
    assert result.exit_code == 1
    assert "user version 1 in lmdb: DAMAGED, 2 of 2 rows, 1 corrupt" in result.output
    assert "delete the lmdb folder" in result.output


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"keys": np.arange(3)}, "rows.*it must hold arrays 'keys' and 'rows'"),
        ({"keys": np.arange(3), "rows": np.zeros((2, 2))}, "they must be \\[n\\] and \\[n, dim\\]"),
        ({"keys": np.zeros(2), "rows": np.zeros((2, 2))}, "keys are float64"),
        ({"keys": np.arange(2), "rows": np.array(["a", "b"])}, "must be integers or floats"),
        ({"keys": np.arange(2), "rows": np.array([None, {}])}, "cannot be read as NPZ"),
    ],
)
def test_npz_that_does_not_fit_is_refused(
    arrays: dict[str, NDArray[Any]], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    with pytest.raises(StoreError, match=words):
        run("import", tmp_path / "s", "a", tmp_path / "a.npz")


def test_values_that_would_change_are_refused(npz: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "big.npz", keys=np.arange(1), rows=np.array([[1 << 31]]))
    for file in (npz, tmp_path / "big.npz"):
        with pytest.raises(StoreError, match="do not fit int32; take a wider --dtype"):
            run("import", tmp_path / "s", "a", file, "--dtype", "int32")


def test_wrong_words_are_usage_errors(npz: Path, tmp_path: Path) -> None:
    other = tmp_path / "rows.csv"
    other.write_text("1,2")
    for words in (("a", other), ("a", npz, "--default", "x")):
        with pytest.raises(SedpError, match=r"suffix '\.csv' is not known|give numbers") as error:
            run("import", tmp_path / "s", *words)
        assert type(error.value).__name__ == "ConfigError"
    assert run("import", tmp_path / "s", "a", tmp_path / "none.npz").exit_code == 2
    assert not (tmp_path / "s").exists()
