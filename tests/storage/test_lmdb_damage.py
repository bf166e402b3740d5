"""A damaged or lost warm tier costs time: no process, and no wrong row."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sedp.errors import StoreError
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.environment import GoneError
from sedp.storage.lmdb.update_log import ALL_CHANGED
from tests.storage.processes import ROOT
from tests.storage.test_lmdb_database import TABLE, WIDE, check, database, update
from tests.storage.warm_tables import fill, last_epochs, look_up_warm

__all__ = ["database"]


@pytest.mark.parametrize("how", ["shortened", "deleted", "replaced"])
def test_file_lost_while_open_is_noticed_and_made_anew(
    database: LmdbDatabase, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "lmdb" / "data.mdb"
    update(database, 1)
    check(database, 0)
    if how == "shortened":
        os.truncate(file, 0)
    elif how == "deleted":
        file.unlink()
    else:
        shutil.copy(file, tmp_path / "copy")
        os.replace(tmp_path / "copy", file)
    assert not database.is_gone
    for table in (TABLE, WIDE):
        assert look_up_warm(database, table, last_epochs(table, 1)) == table.rows
    assert database.is_gone
    assert database.refresh().keys == {}
    assert (database.versions(), database.names(), database.last_logged()) == ({}, set(), 0)
    assert database.logged_since(0) == ALL_CHANGED
    database.check_readers()
    with pytest.raises(GoneError, match="shortened or replaced"):
        update(database, 2)
    with pytest.raises(StoreError):
        database.drop(TABLE.entry.name)
    database.start_anew()
    assert not database.is_gone
    for table in (TABLE, WIDE):
        fill(database, table)
    check(database, 0)
    database.close()


def test_lost_file_can_be_closed(database: LmdbDatabase, tmp_path: Path) -> None:
    os.truncate(tmp_path / "lmdb" / "data.mdb", 4096)
    database.close()
    again = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    assert again.versions() == {}
    again.close()


def test_folder_open_at_a_power_cut_is_thrown_away(database: LmdbDatabase, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "lmdb", tmp_path / "cut")
    database.close()
    (tmp_path / "cut" / "session").write_bytes(b"another boot\n")
    cut = LmdbDatabase(tmp_path / "cut", read_only=False)
    assert cut.versions() == {}
    cut.close()


def test_last_commit_taken_back_is_damage(database: LmdbDatabase, tmp_path: Path) -> None:
    """A flipped bit of its number lets the commit before it count as the last."""
    update(database, 1)
    database.close()
    file = tmp_path / "lmdb" / "data.mdb"
    data = bytearray(file.read_bytes())
    numbers = [int.from_bytes(data[at + 144 : at + 152], "little") for at in (0, 4096)]
    later = numbers.index(max(numbers))
    offset = later * 4096 + 144
    data[offset : offset + 8] = (max(numbers) - 2).to_bytes(8, "little")
    file.write_bytes(data)
    again = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    assert again.versions() == {}
    again.close()


def test_reader_refuses_a_damaged_file(database: LmdbDatabase, tmp_path: Path) -> None:
    database.close()
    os.truncate(tmp_path / "lmdb" / "data.mdb", 1 << 16)
    with pytest.raises(StoreError, match="is damaged"):
        LmdbDatabase(tmp_path / "lmdb", read_only=True)


@pytest.mark.parametrize("kind", ["flip", "page", "shorten"])
def test_damage_while_closed_ends_no_process_and_gives_no_wrong_row(
    tmp_path: Path, kind: str
) -> None:
    code = (
        "from tests.storage.warm_damage import *\nmake_sound(Path(sys.argv[1]) / 'sound')\nmain()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), kind, "0", "60"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr + result.stdout[-100:]
    outcomes = [line.split()[2] for line in result.stdout.splitlines()]
    assert len(outcomes) == 60
    assert outcomes.count("0") > 0  # thrown away
    assert kind == "shorten" or outcomes.count("0") < 60  # served


@pytest.mark.parametrize("damage", ["no pages", "many pages", "tags", "all"])
def test_damaged_buckets_can_be_updated_and_dropped(
    database: LmdbDatabase, tmp_path: Path, damage: str
) -> None:
    """LMDB frees as many pages as the header of a bucket says: what if it lies?"""
    shape = TABLE.shape
    with database.reading() as snapshot:
        assert snapshot is not None
        pages = snapshot.tables[TABLE.entry.name].pages[::3]
        wide = snapshot.tables[WIDE.entry.name].pages[:1]
    database.close()
    with (tmp_path / "lmdb" / "data.mdb").open("r+b") as file:
        for page in [*pages.tolist(), *wide.tolist()]:
            offset, data = {
                "no pages": (12, bytes(4)),
                "many pages": (12, b"\xff" * 4),
                "tags": (16, b"\xc8" * shape.slots + bytes(shape.tag_bytes - shape.slots)),
                "all": (0, b"\xa5" * 4096),
            }[damage]
            file.seek(page * 4096 + offset)
            file.write(data)
    again = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    assert len(again.versions()) == 2
    for table in (TABLE, WIDE):
        look_up_warm(again, table, last_epochs(table, 0))
    update(again, 1)
    again.refresh()
    for table in (TABLE, WIDE):
        look_up_warm(again, table, last_epochs(table, 1))
    again.close()
    third = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    assert len(third.versions()) == 2  # LMDB's own accounts are right
    for name in third.names():
        third.drop(name)
    third.close()
    last = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    for table in (TABLE, WIDE):
        fill(last, table)
    check(last, 0)
    last.close()


def test_readers_go_on_while_it_is_made_anew(database: LmdbDatabase, tmp_path: Path) -> None:
    epochs, is_over = last_epochs(TABLE, 0), threading.Event()

    def look_up(_: int) -> None:
        while not is_over.is_set():
            look_up_warm(database, TABLE, epochs)
            database.versions()
            database.last_logged()

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(look_up, seed) for seed in range(3)]
        try:
            for _ in range(8):
                (tmp_path / "lmdb" / "data.mdb").unlink()
                while not database.is_gone:
                    look_up_warm(database, TABLE, epochs)
                database.start_anew()
                fill(database, TABLE)
                assert look_up_warm(database, TABLE, epochs) <= 0.02 * TABLE.rows
        finally:
            is_over.set()
        for reader in readers:
            reader.result()
    database.close()
