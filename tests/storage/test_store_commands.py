"""`sedp store update`, `rollback`, `backup` and `restore`, as a user types them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.errors import ConfigError, StoreError
from sedp.storage.lmdb.snapshot import Snapshot
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.updates import UPDATE_ROWS_MAX
from tests.storage.processes import ROOT, run_python
from tests.storage.tables import keys_of, look_up
from tests.storage.test_command import run

ROWS = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store whose table `user` has two versions of ten rows: of ones, and of twos, current."""
    path = tmp_path / "s"
    for value in (1, 2):
        run("import", path, "user", save(tmp_path / "rows.npz", np.arange(ROWS), value))
    return path


def save(file: Path, keys: NDArray[np.int64], value: float) -> Path:
    np.savez(file, keys=keys, rows=np.full((len(keys), 2), value, np.float32))
    return file


def values(path: Path, *keys: int) -> list[float]:
    with ParameterStore.open(path, ram_bytes=0, read_only=True) as store:
        rows, _ = look_up(store.table("user"), keys_of(*keys))
    return [float(row[0]) for row in rows]


# import --base ------------------------------------------------------------------------------------


def test_delta_chains_on_the_version_it_names(path: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "hour.npz", np.array([3, 99]), 7)
    np.save(tmp_path / "gone.npy", np.array([4, 3]))
    result = run(
        "import", path, "user", file, "--base", "current", "--removed", tmp_path / "gone.npy"
    )
    assert result.output == "table 'user': version 3 on 2 is current\n"
    assert values(path, 2, 3, 4, 99) == [2, 7, 0, 7]
    (table,) = json.loads(run("stats", path, "--json").output)["tables"]
    assert (table["version"], table["chain"], table["rows"]) == (3, [2], ROWS)
    assert table["lmdb_rows"] == ROWS
    assert "3 on 2 (2 kept)" in run("stats", path).output
    assert run("import", path, "user", file, "--base", "3").output.endswith(
        "4 on 3, 2 is current\n"
    )
    assert "user version 4 in rocksdb: sound, 10 of 10 rows" in run("verify", path).output
    run("rollback", path, "user")
    assert values(path, 4) == [0]


def test_delta_that_does_not_fit_is_refused(path: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "hour.npz", np.array([3]), 7)
    with pytest.raises(ConfigError, match="--base 'v1' is neither a version's number nor"):
        run("import", path, "user", file, "--base", "v1")
    with pytest.raises(StoreError, match="'user' has no version 7; it has 1, 2"):
        run("import", path, "user", file, "--base", "7")
    with pytest.raises(ConfigError, match="integer keys"):
        run("import", path, "user", file, "--base", "1", "--removed", file)
    np.savez(tmp_path / "wide.npz", keys=np.arange(2), rows=np.zeros((2, 3), np.float32))
    with pytest.raises(ConfigError, match="rows of 3 numbers, table 'user' of 2"):
        run("import", path, "user", tmp_path / "wide.npz", "--base", "1")
    assert values(path, 3) == [2]


# update -------------------------------------------------------------------------------------------


def test_update_changes_rows_and_adds_others(path: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "new.npz", np.array([3, 99]), 7)
    result = run("update", path, "user", file)
    assert result.output.startswith("table 'user' version 2: 2 rows updated in ")
    assert result.output.endswith(" rows/s\n")
    assert values(path, 2, 3, 99) == [2, 7, 7]


def test_update_is_seen_by_who_has_the_store_open_read_only(path: Path, tmp_path: Path) -> None:
    with ParameterStore.open(path, read_only=True) as store:
        assert look_up(store.table("user"), keys_of(3))[0][0, 0] == 2
        file = save(tmp_path / "new.npz", np.array([3]), 7)
        command = [sys.executable, "-m", "sedp", "store", "update", path, "user", file]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=30)
        store.refresh()
        assert look_up(store.table("user"), keys_of(3))[0][0, 0] == 7


def test_an_update_is_seen_that_came_while_the_one_before_was_taken_up(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log says must not be newer than the rows that are seen with it."""

    def update(key: int, value: int) -> None:
        file = save(tmp_path / f"{key}.npz", np.array([key]), value)
        command = [sys.executable, "-m", "sedp", "store", "update", path, "user", file]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=30)

    with ParameterStore.open(path, read_only=True) as store:
        assert look_up(store.table("user"), keys_of(3))[0][0, 0] == 2  # RAM has it now
        warm = store._parts.warm
        assert warm is not None
        take = warm._fresh_snapshot

        def take_and_update(before: Snapshot | None) -> Snapshot:
            monkeypatch.undo()
            snapshot = take(before)
            update(3, 7)
            return snapshot

        with store._parts._refreshing:  # the ticker must not look in between
            update(4, 5)
            monkeypatch.setattr(warm, "_fresh_snapshot", take_and_update)
            store._parts._follower.refresh()  # type: ignore[union-attr] # a reader has one
        store.refresh()
        assert look_up(store.table("user"), keys_of(3, 4))[0][:, 0].tolist() == [7, 5]


def test_update_given_again_under_its_id_changes_nothing(path: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "new.npz", np.arange(UPDATE_ROWS_MAX + 5), 7)
    run("update", path, "user", file, "--update-id", "monday")
    run("update", path, "user", save(tmp_path / "other.npz", np.array([3]), 8))
    result = run("update", path, "user", file, "--update-id", "monday", "--durability", "async")
    assert ": 0 rows updated" in result.output
    assert "; 100,005 had been before" in result.output
    assert values(path, 3, UPDATE_ROWS_MAX + 4) == [8, 7]


def test_update_that_is_refused_says_how_far_it_came(path: Path, tmp_path: Path) -> None:
    rows = np.ones((UPDATE_ROWS_MAX + 1, 2), np.float32)
    rows[-1] = 100
    np.savez(tmp_path / "new.npz", keys=np.arange(len(rows)), rows=rows)
    with pytest.raises(StoreError, match=r"norm 141.*limit is 10.*first 100,000 rows are updated"):
        run("update", path, "user", tmp_path / "new.npz", "--norm-max", "10")
    assert values(path, 3, UPDATE_ROWS_MAX) == [1, 0]


def test_update_takes_the_tables_own_columns_from_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    path, file = tmp_path / "s", tmp_path / "a.parquet"
    write_table(pa.table({"id": [1], "a": [1.0], "b": [2.0]}), file)
    run("import", path, "user", file, "--columns", "b,a")
    write_table(pa.table({"ad": [1], "a": [5.0], "more": [0.0], "b": [6.0]}), file)
    run("update", path, "user", file, "--id", "ad")
    assert values(path, 1) == [6]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--update-id", "x" * 101], "--update-id of 101 characters; it may have 100"),
        ([], "rows of 3 numbers, table 'user' of 2; choose them with --columns"),
    ],
)
def test_update_that_cannot_fit_is_refused(
    path: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    np.savez(tmp_path / "wide.npz", keys=np.arange(1), rows=np.zeros((1, 3)))
    with pytest.raises(ConfigError, match=words):
        run("update", path, "user", tmp_path / "wide.npz", *options)
    assert values(path, 0) == [2]


def test_commands_that_write_name_what_is_in_their_way(path: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "new.npz", np.array([3]), 7)
    with ParameterStore.open(path):
        for words in (("update", path, "user", file), ("rollback", path, "user")):
            with pytest.raises(StoreError, match=r"open for writing already.*close that one"):
                run(*words)
    with pytest.raises(StoreError, match="no table 'usr'; did you mean 'user'"):
        run("update", path, "usr", file)


# rollback -----------------------------------------------------------------------------------------


def test_rollback_goes_to_and_fro_and_stats_tell(path: Path) -> None:
    assert run("rollback", path, "user").output == "table 'user': version 1 is current; kept: 2\n"
    assert values(path, 3) == [1]
    [table] = json.loads(run("stats", path, "--json").output)["tables"]
    assert (table["version"], table["versions"]) == (1, [1, 2])
    assert "version 2 is current" in run("rollback", path, "user", "--version", 2).output
    assert values(path, 3) == [2]
    with pytest.raises(StoreError, match=r"cannot go to version 7; versions kept: 1, 2"):
        run("rollback", path, "user", "--version", 7)


# backup and restore -------------------------------------------------------------------------------


def test_backup_is_a_store_of_its_own_with_updates(path: Path, tmp_path: Path) -> None:
    run("update", path, "user", save(tmp_path / "new.npz", np.array([3]), 7))
    assert run("backup", path, tmp_path / "b").output.endswith("backup of 1 table (user)\n")
    run("update", path, "user", save(tmp_path / "new.npz", np.array([3]), 8))
    result = run("restore", tmp_path / "b", tmp_path / "r")
    assert result.output.endswith(f"1 table (user) restored from {tmp_path / 'b'}\n")
    assert (values(path, 3), values(tmp_path / "r", 3)) == ([8], [7])
    with ParameterStore.open(tmp_path / "r", read_only=True) as store:
        assert store.versions("user") == (1, 2)
        tiers = {tier.tier: tier.rows for tier in store.statistics().tables[0].tiers}
    assert tiers["lmdb"] == ROWS


def test_backup_has_what_a_killed_writer_left_in_its_log(path: Path, tmp_path: Path) -> None:
    code = """
with ParameterStore.open(path) as store:
    store.update("user", np.array([3], np.uint64), np.full((1, 2), 7, np.float32))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(code, path).returncode == -signal.SIGKILL
    run("backup", path, tmp_path / "b")
    run("restore", tmp_path / "b", tmp_path / "r")
    assert values(tmp_path / "r", 3) == [7]


def test_restored_store_lives_on_when_the_backup_is_gone(path: Path, tmp_path: Path) -> None:
    run("backup", path, tmp_path / "b")
    shutil.rmtree(path)
    run("restore", tmp_path / "b", path)
    before = sorted(file.name for file in (tmp_path / "b" / "rocksdb").iterdir())
    run("update", path, "user", save(tmp_path / "new.npz", np.array([3]), 7))
    assert sorted(file.name for file in (tmp_path / "b" / "rocksdb").iterdir()) == before
    shutil.rmtree(tmp_path / "b")
    assert run("verify", path).exit_code == 0
    assert values(path, 2, 3) == [2, 7]


def test_restore_copies_where_links_are_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(18, "Invalid cross-device link")

    run("backup", path, tmp_path / "b")
    monkeypatch.setattr("os.link", refuse)
    run("restore", tmp_path / "b", tmp_path / "r")
    assert values(tmp_path / "r", 3) == [2]


def test_folders_that_are_there_are_not_touched(path: Path, tmp_path: Path) -> None:
    run("backup", path, tmp_path / "b")
    with pytest.raises(StoreError, match="is there already; name a folder that is not"):
        run("backup", path, tmp_path / "b")
    with pytest.raises(StoreError, match=r"is there already.*or move it away"):
        run("restore", tmp_path / "b", path)
    with pytest.raises(StoreError, match="is no backup; name a folder that `sedp store backup`"):
        run("restore", tmp_path, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_restore_from_a_damaged_backup_is_told(path: Path, tmp_path: Path) -> None:
    run("backup", path, tmp_path / "b")
    for file in (tmp_path / "b" / "rocksdb").glob("*.sst"):
        file.unlink()
    with pytest.raises(StoreError):
        run("restore", tmp_path / "b", tmp_path / "r")


def test_import_with_a_limit_leaves_the_rest_to_rocksdb(tmp_path: Path) -> None:
    np.savez(tmp_path / "big.npz", keys=np.arange(20_000), rows=np.ones((20_000, 8), np.float32))
    run("import", tmp_path / "s", "big", tmp_path / "big.npz", "--lmdb", "100KiB")
    [table] = json.loads(run("stats", tmp_path / "s", "--json").output)["tables"]
    assert 0 < table["lmdb_bytes"] <= 100 << 10
    assert table["lmdb_rows"] < table["rows"] == 20_000
    assert "%" in run("stats", tmp_path / "s").output


def test_every_command_shows_an_example() -> None:
    for name in ("import", "update", "rollback", "stats", "verify", "backup", "restore", "advise"):
        result = run(name, "--help")
        assert result.exit_code == 0
        assert f"sedp store {name} " in result.output


def test_spec_that_stats_show_is_that_of_the_table(tmp_path: Path) -> None:
    keys = np.arange(5, dtype=np.uint64)
    with ParameterStore.open(tmp_path / "s", create=True) as store:
        spec = TableSpec("t", 8, "float32", row_format="int8", layout="dense")
        store.import_table(spec, [(keys, np.ones((5, 8), np.float32))])
    assert "float32[8] int8 dense" in run("stats", tmp_path / "s").output
