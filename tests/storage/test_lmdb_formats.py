"""Files in a format that is not known serve the same rows, through LMDB's public API alone."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

from sedp.storage.lmdb import environment
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.format import is_known_format
from sedp.storage.tier import TierStatistics
from tests.storage.test_lmdb_database import TABLE, WIDE, update
from tests.storage.warm_tables import WarmTable, change, fill

TABLES = (TABLE, WIDE)
Answer = tuple[bytes, bytes, TierStatistics]


def make_newer_file(path: Path) -> None:
    """An empty file of LMDB 1.0, whose pages have longer headers."""
    try:
        lmdb.open(str(path), max_dbs=4, lib_version=1).close()
    except (TypeError, lmdb.Error):
        pytest.skip("this LMDB writes one format only")


@pytest.fixture(params=["newer file", "switch"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a database will not have the known format."""
    path = tmp_path / "unknown"
    if request.param == "switch":
        monkeypatch.setattr(environment, "is_known_format", lambda data: "unknown" not in str(data))
    else:
        make_newer_file(path)
    return path


def opened(path: Path, *, read_only: bool = False) -> LmdbDatabase:
    database = LmdbDatabase(path, read_only=read_only)
    assert database._environment.is_known_format == ("unknown" not in str(path))
    return database


def filled(path: Path) -> LmdbDatabase:
    database = opened(path)
    for table in TABLES:
        fill(database, table)
    return database


def answer(database: LmdbDatabase, table: WarmTable) -> Answer:
    """Rows found, which are missing and the counts, of keys that are there and that are not."""
    strange = np.arange(1 << 40, (1 << 40) + 50, dtype=np.uint64)
    keys = np.concatenate([table.keys, strange])
    rows = np.zeros((len(keys), 4 * table.dim), dtype=np.uint8)
    missing = np.ones(len(keys), dtype=np.bool_)
    tier = table.open(database)
    wanted = np.arange(len(keys))[::-1].copy()
    found, corrupt = tier.answer(keys, wanted, rows, missing)
    statistics = tier.statistics()
    assert np.array_equal(np.sort(found), np.flatnonzero(~missing))
    assert statistics.corrupt == corrupt
    return rows.tobytes(), missing.tobytes(), statistics


def test_lookups_and_updates_are_the_same(path: Path, tmp_path: Path) -> None:
    known, unknown = filled(tmp_path / "known"), filled(path)
    for epoch in range(1, 6):
        for database in (known, unknown):
            update(database, epoch)
        for table in TABLES:  # not seen before the refresh
            assert answer(known, table) == answer(unknown, table)
        seen = [database.refresh() for database in (known, unknown)]
        assert seen[0].keys.keys() == seen[1].keys.keys()
        for table in TABLES:
            expected = answer(known, table)
            assert expected == answer(unknown, table)
            assert expected[2].hits >= 0.98 * table.rows
            parts = [list(table.open(database).scan()) for database in (known, unknown)]
            held = [np.concatenate([part.keys for part in some]) for some in parts]
            assert np.array_equal(*held)
    for database in (known, unknown):
        database.close()
    reader = opened(path, read_only=True)
    for table in TABLES:
        assert answer(reader, table)[2].hits >= 0.98 * table.rows
    reader.close()
    again = opened(path)
    assert again.names() == set(again.versions()) == {table.entry.name for table in TABLES}
    for table in TABLES:
        assert answer(again, table)[2].hits >= 0.98 * table.rows
        again.drop(table.entry.name)
    assert again.names() == set()
    again.close()


def damage_rows(path: Path, database: LmdbDatabase) -> None:
    """Close; in every third bucket a byte of the first row and some tags are not what they were."""
    values = {table: np.concatenate(list(database.values(table.entry.name))) for table in TABLES}
    database.close()
    file = path / "data.mdb"
    data = bytearray(file.read_bytes())
    for table, buckets in values.items():
        for value in buckets[::3]:
            at = data.find(value.tobytes())
            while at >= 0:  # an old copy may be there as well
                data[at + table.shape.tag_bytes + 9] ^= 4
                data[at + 3 : at + 6] = b"\xc8\xc9\xca"
                at = data.find(value.tobytes(), at + 1)
    file.write_bytes(data)


def test_damaged_rows_are_the_same_to_both(path: Path, tmp_path: Path) -> None:
    places = tmp_path / "known", path
    for place in places:
        damage_rows(place, filled(place))
    known, unknown = (opened(place) for place in places)
    for table in TABLES:
        expected = answer(known, table)
        assert expected == answer(unknown, table)
        assert expected[2].corrupt >= table.shape.buckets // 3
    for database in (known, unknown):
        with database.updating() as writer:
            for table in TABLES:
                change(database, writer, table, 99)
        database.refresh()
    for table in TABLES:
        assert answer(known, table) == answer(unknown, table)
    for database in (known, unknown):
        database.close()


@pytest.mark.parametrize("session", [b"another boot\n", b"closed 1"])
def test_power_cut_and_lost_commit_make_it_anew(path: Path, session: bytes) -> None:
    filled(path).close()
    (path / "session").write_bytes(session)
    again = LmdbDatabase(path, read_only=False)
    assert again.versions() == {}
    again.close()


def test_file_says_which_format_it_has(tmp_path: Path) -> None:
    assert is_known_format(tmp_path / "none" / "data.mdb") == (lmdb.version()[:2] == (0, 9))
    lmdb.open(str(tmp_path / "old")).close()
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    for name in ("old/data.mdb", "noise"):  # damage is for the audit to find
        assert is_known_format(tmp_path / name)
    make_newer_file(tmp_path / "new")
    assert not is_known_format(tmp_path / "new" / "data.mdb")
