"""Disks that are full or fail: nothing acknowledged is lost, and nothing is acknowledged wrongly.

The kernel itself gives the errors: the descriptor of the database's log is put on a device that
has no room (/dev/full), takes no writes, or cannot be synced.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.rocksdb import health as rocksdb_health
from sedp.storage.rocksdb.database import RocksDatabase
from tests.storage.tables import keys_of, some_keys
from tests.storage.test_rocksdb_database import WIDTH, as_bytes, records_of
from tests.storage.threads import run_in_threads

FULL, UNWRITABLE, UNSYNCABLE = (
    ("/dev/full", os.O_WRONLY),
    ("/dev/null", os.O_RDONLY),
    ("/dev/null", os.O_WRONLY),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[RocksDatabase]:
    opened = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=True)
    opened.create("a")
    opened.write_rows([("a", keys_of(1), records_of(1))], sync=True)
    yield opened
    opened.close()


def break_log(path: Path, device: tuple[str, int]) -> None:
    """Put the log that is being written on another device."""
    logs = {
        int(match[1]): int(descriptor.name)
        for descriptor in Path("/proc/self/fd").iterdir()
        if (match := re.search(rf"{path}.*/(\d+)\.log$", str(os.path.realpath(descriptor))))
    }
    other = os.open(*device)
    os.dup2(other, logs[max(logs)])
    os.close(other)


def put(database: RocksDatabase, key: int, value: int, *, sync: bool = True) -> None:
    database.write_rows([("a", keys_of(key), records_of(value))], sync=sync)


def check_after_reopening(database: RocksDatabase, tmp_path: Path, **held: int) -> None:
    database.close()
    again = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=False)
    for key, value in held.items():
        assert again.read("a", keys_of(int(key[1:]))) == as_bytes(value)
    put(again, 9, 9)
    again.close()


def test_full_disk_refuses_a_write_and_takes_the_next_when_there_is_room(
    database: RocksDatabase, tmp_path: Path
) -> None:
    break_log(tmp_path, FULL)
    with pytest.raises(StoreError, match=r"not written: .*No space left.*free some space"):
        put(database, 2, 2)
    assert database.read("a", keys_of(1, 2)) == [*as_bytes(1), None]
    with pytest.raises(StoreError, match="not brought to disk"):
        database.flush_wal()
    put(database, 3, 3)
    assert database.read("a", keys_of(1, 2, 3)) == [*as_bytes(1), None, *as_bytes(3)]
    check_after_reopening(database, tmp_path, k1=1, k3=3)


def test_as_long_as_the_disk_is_full_writes_are_refused_and_reads_go_on(
    database: RocksDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, 4, 4, sync=False)
    break_log(tmp_path, FULL)
    with pytest.raises(StoreError, match="free some space"):
        put(database, 2, 2)
    with monkeypatch.context() as patch:
        patch.setattr(rocksdb_health, "FREE_BYTES_MIN", 1 << 60)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"its disk was full.*KiB free; .*free some space"):
                put(database, 2, 2)
        assert database.read("a", keys_of(1, 4)) == as_bytes(1, 4)
    put(database, 2, 2)
    assert database.read("a", keys_of(1, 2, 4)) == as_bytes(1, 2, 4)
    check_after_reopening(database, tmp_path, k1=1, k2=2, k4=4)


def test_readers_go_on_while_the_files_are_opened_anew(
    database: RocksDatabase, tmp_path: Path
) -> None:
    keys = some_keys(600)
    records = np.random.default_rng(0).integers(0, 256, (len(keys), WIDTH), dtype=np.uint8)
    database.write_rows([("a", keys, records)], sync=True)

    def work(seed: int) -> None:
        for turn in range(5):
            if seed:
                for _ in range(20):
                    assert database.read("a", keys) == [*map(bytes, records)]
                continue
            break_log(tmp_path, FULL)
            with pytest.raises(StoreError, match="free some space"):
                put(database, 2, 2)
            put(database, 3, turn)

    run_in_threads(work)
    assert database.read("a", keys_of(3)) == as_bytes(4)


def test_writing_waits_for_a_scan_before_files_are_opened_anew(
    database: RocksDatabase, tmp_path: Path
) -> None:
    put(database, 2, 2)
    pairs = database.scan("a")
    next(pairs)
    break_log(tmp_path, FULL)
    with pytest.raises(StoreError, match="free some space"):
        put(database, 3, 3)
    with pytest.raises(StoreError, match="the scan under way"):
        put(database, 3, 3)
    assert len(list(pairs)) == 1
    put(database, 3, 3)
    assert database.read("a", keys_of(1, 2, 3)) == as_bytes(1, 2, 3)


def test_failed_write_ends_writing_until_the_store_is_opened_again(
    database: RocksDatabase, tmp_path: Path
) -> None:
    break_log(tmp_path, UNWRITABLE)
    with pytest.raises(StoreError, match="not written: IO error"):
        put(database, 2, 2)
    writes: list[Callable[[], object]] = [
        lambda: put(database, 3, 3),
        database.flush_wal,
        lambda: database.create("b"),
    ]
    for write in writes:
        with pytest.raises(StoreError, match=r"writing ended with .*\(IO error.*open it again"):
            write()
    assert database.read("a", keys_of(1)) == as_bytes(1)
    check_after_reopening(database, tmp_path, k1=1)


def test_failed_fsync_is_no_acknowledgement_and_is_never_tried_again(
    database: RocksDatabase, tmp_path: Path
) -> None:
    break_log(tmp_path, UNSYNCABLE)
    with pytest.raises(StoreError, match="not brought to disk: IO error"):
        put(database, 2, 2)
    for sync in (True, False):
        with pytest.raises(StoreError, match="writing ended with a failure"):
            put(database, 3, 3, sync=sync)
    check_after_reopening(database, tmp_path, k1=1)


def test_failed_fsync_of_earlier_writes_is_told(database: RocksDatabase, tmp_path: Path) -> None:
    put(database, 2, 2, sync=False)
    database.flush_wal()
    break_log(tmp_path, UNSYNCABLE)
    put(database, 3, 3, sync=False)
    with pytest.raises(StoreError, match="not brought to disk"):
        database.close()
    check_after_reopening(database, tmp_path, k1=1, k2=2)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MiB; skips where this process may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as err:
        pytest.skip(f"cannot mount a small disk: {err}")
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_disk_that_fills_up_and_is_freed_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        database = RocksDatabase(disk / "rocksdb", read_only=False, create=True)
        database.create("a")
        (disk / "other").write_bytes(bytes(12 << 20))
        dice, acknowledged = np.random.default_rng(0), dict[int, bytes]()
        with pytest.raises(StoreError, match="free some space"):
            fill(database, dice, acknowledged)
        assert len(acknowledged) > 10_000
        with pytest.raises(StoreError, match="free some space"):
            put(database, 1, 1)
        check_all(database, acknowledged)
        (disk / "other").unlink()
        put(database, 1, 1)
        acknowledged[1] = as_bytes(1)[0]
        check_all(database, acknowledged)
        database.close()
        database = RocksDatabase(disk / "rocksdb", read_only=False, create=False)
        check_all(database, acknowledged)
        database.close()


@pytest.mark.slow
def test_import_that_met_a_full_disk_works_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        database = RocksDatabase(disk / "rocksdb", read_only=False, create=True)
        database.create("a")
        put(database, 1, 1)
        database.write_file(disk / "a.sst", keys_of(1), records_of(2))
        with pytest.raises(OSError, match="No space"):
            (disk / "other").write_bytes(bytes(24 << 20))
        with pytest.raises(StoreError, match=r"import not taken in: .*free some space"):
            database.ingest("a", [disk / "a.sst"])
        with pytest.raises(StoreError, match="its disk was full"):
            database.create("b")
        assert database.read("a", keys_of(1)) == as_bytes(1)
        (disk / "other").unlink()
        database.create("b")
        database.write_file(disk / "a.sst", keys_of(1), records_of(2))
        database.ingest("a", [disk / "a.sst"])
        assert database.read("a", keys_of(1)) == as_bytes(2)
        database.close()


def fill(
    database: RocksDatabase, dice: np.random.Generator, acknowledged: dict[int, bytes]
) -> None:
    """Write until the disk is full."""
    for start in range(0, 1_000_000, 500):
        keys = np.arange(start, start + 500, dtype=np.uint64)
        records = dice.integers(0, 256, (500, 200), dtype=np.uint8)
        database.write_rows([("a", keys, records)], sync=True)
        acknowledged.update(zip(keys.tolist(), map(bytes, records), strict=True))


def check_all(database: RocksDatabase, acknowledged: dict[int, bytes]) -> None:
    assert database.read("a", keys_of(*acknowledged)) == list(acknowledged.values())
