"""Snapshots stay as they are, others see the next one, and the file stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.warm_version import WarmVersion, sign, unsign
from tests.storage.processes import ROOT
from tests.storage.warm_tables import WarmTable, change, fill, last_epochs, look_up_warm

TABLE = WarmTable("user", 16, "hashed", 3000)
WIDE = WarmTable("item", 700, "dense", 200)


@pytest.fixture
def database(tmp_path: Path) -> LmdbDatabase:
    opened = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    fill(opened, TABLE)
    fill(opened, WIDE)
    return opened


def update(database: LmdbDatabase, epoch: int) -> None:
    with database.updating() as writer:
        for table in (TABLE, WIDE):
            change(database, writer, table, epoch)


def check(database: LmdbDatabase, until: int) -> None:
    for table in (TABLE, WIDE):
        missing = look_up_warm(database, table, last_epochs(table, until))
        assert missing <= 0.02 * table.rows


def test_updates_are_seen_after_refresh_and_not_before(database: LmdbDatabase) -> None:
    check(database, 0)
    for epoch in range(1, 8):
        update(database, epoch)
        check(database, epoch - 1)
        changes = database.refresh()
        assert set(changes.keys) == {TABLE.entry.name, WIDE.entry.name}
        assert (changes.has_gap, changes.catalogue) == (False, False)
        check(database, epoch)
    assert database.epoch() == 7
    database.close()


def test_snapshot_in_use_keeps_its_rows_while_the_writer_goes_on(database: LmdbDatabase) -> None:
    with database.reading() as snapshot:
        assert snapshot is not None
        before = {name: table.pages.tobytes() for name, table in snapshot.tables.items()}
        for epoch in range(1, 30):
            update(database, epoch)
            database.refresh()
        check(database, 29)
        assert {name: table.pages.tobytes() for name, table in snapshot.tables.items()} == before
        assert not snapshot.closed.is_set()
        newest, database._snapshot = database._snapshot, snapshot
        check(database, 0)
        database._snapshot = newest
    assert snapshot.closed.is_set()
    database.close()


def test_reopened_database_has_everything(database: LmdbDatabase, tmp_path: Path) -> None:
    for epoch in range(1, 5):
        update(database, epoch)
    database.close()
    again = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    check(again, 4)
    assert {TABLE.entry.name, WIDE.entry.name} == again.names() == set(again.versions())
    update(again, 5)
    again.refresh()
    check(again, 5)
    again.drop(TABLE.entry.name)
    assert again.names() == {WIDE.entry.name}
    again.close()


def test_file_does_not_grow_with_updates(database: LmdbDatabase, tmp_path: Path) -> None:
    file = tmp_path / "lmdb" / "data.mdb"
    sizes = []
    for epoch in range(1, 98):
        update(database, epoch)
        database.refresh()
        sizes.append(file.stat().st_size)
    assert sizes[-1] <= 1.25 * sizes[20]
    check(database, 97)
    database.close()


FOLLOW = """
import sys
from pathlib import Path
from sedp.storage.lmdb.database import LmdbDatabase
from tests.storage.test_lmdb_database import check
database = LmdbDatabase(Path(sys.argv[1]), read_only=True)
for line in sys.stdin:
    keys = sum(len(keys) for keys in database.refresh().keys.values())
    check(database, int(line))
    print(keys > 0, flush=True)
database.close()
"""


@pytest.mark.slow
def test_another_process_follows(database: LmdbDatabase, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOLLOW, str(tmp_path / "lmdb")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for epoch in range(20):
            if epoch:
                update(database, epoch)
            print(epoch, file=reader.stdin, flush=True)
            assert reader.stdout.readline() == f"{epoch > 0}\n"
        reader.stdin.close()
    assert reader.returncode == 0
    database.close()


def test_scan_and_statistics_tell_of_all_rows(database: LmdbDatabase) -> None:
    tier = TABLE.open(database)
    parts = list(tier.scan())
    keys = np.concatenate([part.keys for part in parts])
    statistics = tier.statistics()
    assert sum(part.corrupt for part in parts) == 0
    assert len(keys) == len(set(keys.tolist())) == statistics.rows
    assert statistics.rows >= 0.98 * TABLE.rows
    assert statistics.bytes == TABLE.shape.disk_bytes
    database.close()


@pytest.mark.parametrize("layout", [1, None])
def test_version_with_buckets_of_another_layout_is_not_served(layout: int | None) -> None:
    signed = WarmVersion(TABLE.shape, 3000).encode()
    assert WarmVersion.decode(signed) == WarmVersion(TABLE.shape, 3000)
    fields = json.loads(unsign(signed) or b"")
    fields["layout"] = layout
    assert WarmVersion.decode(sign(json.dumps(fields).encode())) is None
