"""A reader beside the writer: it catches up when told, and is never shown less than there is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.errors import CorruptionError, StoreError
from sedp.storage.rocksdb import folder_lock
from sedp.storage.rocksdb import opening as rocksdb_opening
from sedp.storage.rocksdb.database import RocksDatabase
from tests.storage.processes import PREAMBLE, ROOT
from tests.storage.tables import keys_of
from tests.storage.test_rocksdb_database import WIDTH, as_bytes, records_of


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RocksDatabase]:
    opened = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=True)
    opened.create("a")
    opened.write_rows([("a", keys_of(1, 2), records_of(1, 2))], sync=True)
    yield opened
    opened.close()


@pytest.fixture
def reader(writer: RocksDatabase, tmp_path: Path) -> Iterator[RocksDatabase]:
    opened = RocksDatabase(tmp_path / "rocksdb", read_only=True, create=False)
    yield opened
    opened.close()


def test_reader_sees_what_is_in_the_log_only_when_it_catches_up(
    writer: RocksDatabase, reader: RocksDatabase
) -> None:
    writer.write_rows([("a", keys_of(2, 3), records_of(5, 6))], [(b"k", b"v")], sync=False)
    assert reader.read("a", keys_of(1, 2, 3)) == [*as_bytes(1, 2), None]
    reader.catch_up()
    assert reader.read("a", keys_of(1, 2, 3)) == as_bytes(1, 5, 6)
    assert reader.get_meta(b"k") == b"v"


def test_reader_sees_rows_that_went_from_the_log_into_files(
    writer: RocksDatabase, reader: RocksDatabase, tmp_path: Path
) -> None:
    family = writer._handles.opened.families["a"]
    for turn in range(3, 6):
        writer.write_rows([("a", keys_of(2, turn), records_of(turn, turn))], sync=True)
        family.flush()
    family.compact_range(None, None)
    assert reader.read("a", keys_of(2)) == as_bytes(2)
    reader.catch_up()
    assert reader.read("a", keys_of(1, 2, 3, 5)) == as_bytes(1, 5, 3, 5)
    writer.write_file(tmp_path / "a.sst", keys_of(2), records_of(9))
    writer.ingest("a", [tmp_path / "a.sst"])
    reader.catch_up()
    assert reader.read("a", keys_of(1, 2, 3)) == as_bytes(1, 9, 3)


def test_reader_sees_versions_come_and_go(writer: RocksDatabase, reader: RocksDatabase) -> None:
    writer.create("b")
    writer.write_rows([("b", keys_of(1), records_of(7))], sync=False)
    with pytest.raises(StoreError, match="'b' was dropped"):
        reader.read("b", keys_of(1))
    reader.catch_up()
    assert reader.names == {"a", "b"}
    assert reader.read("b", keys_of(1)) == as_bytes(7)
    writer.drop("a")
    for _ in range(2):
        assert reader.read("a", keys_of(1)) == as_bytes(1)  # until it is told to forget
        reader.catch_up()
        assert reader.names == {"b"}
    writer.drop("b")
    reader.catch_up()
    assert reader.read("a", keys_of(1)) == as_bytes(1)
    reader.forget_dropped()
    with pytest.raises(StoreError, match="'a' was dropped"):
        reader.read("a", keys_of(1))


def test_version_is_not_dropped_while_a_reader_opens_the_files(
    writer: RocksDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "TRIES_MAX", 1)
    family_names = rocksdb_opening.family_names
    refusals = []

    def drop_behind(path: Path, options: Any) -> set[str]:
        names = family_names(path, options)
        with pytest.raises(StoreError, match="a reader has been opening it for"):
            writer.drop("a")
        refusals.append(names)
        return names

    monkeypatch.setattr(rocksdb_opening, "family_names", drop_behind)
    reader = RocksDatabase(tmp_path / "rocksdb", read_only=True, create=False)
    assert refusals == [{"a"}]
    assert reader.read("a", keys_of(1)) == as_bytes(1)
    writer.drop("a")
    reader.close()
    with (
        folder_lock.dropping(tmp_path / "rocksdb"),
        pytest.raises(StoreError, match="a writer has been dropping a table version"),
    ):
        RocksDatabase(tmp_path / "rocksdb", read_only=True, create=False)


def test_folder_that_is_gone_cannot_be_locked(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"folder gone is not locked: .*No such file"),
        folder_lock.dropping(tmp_path / "gone"),
    ):
        pass


def test_scan_goes_on_while_the_reader_is_opened_anew(
    writer: RocksDatabase, reader: RocksDatabase
) -> None:
    keys = np.arange(10_000, dtype=np.uint64)
    records = np.full((len(keys), WIDTH), 3, dtype=np.uint8)
    writer.write_rows([("a", keys, records)], sync=False)
    reader.catch_up()
    pairs = reader.scan("a")
    next(pairs)
    writer.drop("a")
    writer.create("b")
    reader.catch_up()
    assert len(list(pairs)) == len(keys) - 1


def test_look_ups_go_on_while_versions_come_and_go(
    writer: RocksDatabase, reader: RocksDatabase
) -> None:
    ended, failures, counts = threading.Event(), list[BaseException](), [0, 0, 0]

    def read(at: int) -> None:
        try:
            while not ended.is_set():
                assert reader.read("a", keys_of(1, 2)) == as_bytes(1, 2)
                counts[at] += 1
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=read, args=(at,)) for at in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        for turn in range(15):
            writer.create(f"v{turn}")
            writer.write_rows([(f"v{turn}", keys_of(1), records_of(turn))], sync=False)
            reader.catch_up()
            assert reader.read(f"v{turn}", keys_of(1)) == as_bytes(turn)
            writer.drop(f"v{turn}")
            reader.catch_up()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert min(counts) > 15


@pytest.mark.parametrize("share", [0, 0.5, 0.99, None])
def test_missing_or_shortened_file_is_corruption_and_not_fewer_rows(
    share: float | None, tmp_path: Path
) -> None:
    writer = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=True)
    writer.create("a")
    writer.write_rows([("a", keys_of(1, 2), records_of(1, 2))], sync=True)
    writer.close()
    [file] = (tmp_path / "rocksdb").glob("*.sst")
    if share is None:
        file.unlink()
    else:
        os.truncate(file, int(file.stat().st_size * share))
    with pytest.raises(CorruptionError, match=r"(?s)cannot be opened: Corruption.*import the"):
        RocksDatabase(tmp_path / "rocksdb", read_only=True, create=False)


def test_writer_has_nothing_to_catch_up_with(writer: RocksDatabase) -> None:
    writer.catch_up()
    assert writer.read("a", keys_of(1)) == as_bytes(1)


def test_reader_leaves_nothing_behind(writer: RocksDatabase, tmp_path: Path) -> None:
    reader = RocksDatabase(tmp_path / "rocksdb", read_only=True, create=False)
    folder = reader._handles._folder
    assert folder is not None
    for turn in range(3):
        writer.create(f"v{turn}")
        reader.catch_up()
        reader.forget_dropped()
        assert len(list(Path(folder.name).iterdir())) == 1  # that of the handles in use
        writer.drop(f"v{turn}")
    reader.close()
    assert not Path(folder.name).exists()
    with pytest.raises(StoreError, match="is closed; open it again"):
        reader.catch_up()


@pytest.mark.slow
def test_reader_in_another_process_keeps_up_with_writes_files_and_versions(
    writer: RocksDatabase, tmp_path: Path
) -> None:
    code = """
from sedp.storage.rocksdb import folder_lock
from sedp.storage.rocksdb import opening as rocksdb_opening
from sedp.storage.rocksdb.database import RocksDatabase
from tests.storage.tables import keys_of
reader = RocksDatabase(path / "rocksdb", read_only=True, create=False)
for line in sys.stdin:
    reader.catch_up()
    seen = {name: reader.read(name, keys_of(1, 2))[1][0] for name in sorted(reader.names)}
    print(seen, flush=True)
"""
    command, pipe = [sys.executable, "-c", PREAMBLE + code, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def seen() -> str:
            print("turn", file=reader.stdin, flush=True)
            return str(reader.stdout and reader.stdout.readline()).strip()

        assert seen() == "{'a': 2}"
        for turn in range(10, 40):
            writer.write_rows([("a", keys_of(1, 2), records_of(0, turn))], sync=turn % 2 == 0)
            if turn % 5 == 0:
                writer._handles.opened.families["a"].flush()
            if turn % 7 == 0:
                writer._handles.opened.families["a"].compact_range(None, None)
            assert seen() == str({"a": turn})
        writer.create("b")
        writer.write_rows([("b", keys_of(2), records_of(9))], sync=True)
        assert seen() == "{'a': 39, 'b': 9}"
        writer.drop("a")
        assert seen() == "{'b': 9}"
        reader.stdin.close()
    assert reader.returncode == 0
