"""Processes that read follow the writer: updates, publications, promotions, what they missed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.update_log import ENTRIES_MAX
from tests.storage.processes import PREAMBLE, ROOT
from tests.storage.tables import look_up, make_rows, some_keys

SPEC = TableSpec("user", 4, "float32")
KEYS = some_keys(3000)

READER = """
import json
spec, keys = TableSpec("user", 4, "float32"), some_keys(3000)
with ParameterStore.open(path, ram_bytes=int(sys.argv[2]), read_only=True) as store:
    table = store.table("user")
    print("open", flush=True)
    for line in sys.stdin:
        count, version, other = json.loads(line)
        store.refresh()
        rows, missing = look_up(table, keys)
        expected = make_rows(spec, keys, other)
        expected[:count] = make_rows(spec, keys[:count], version)
        print("right" if (rows == expected).all() and not missing.any() else "wrong", flush=True)
"""


class Reader:
    """Another process; `sees` asks it to refresh and look everything up."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._sink, self._source = process, process.stdin, process.stdout
        assert self._source.readline() == "open\n"

    def end(self) -> None:
        self._sink.close()
        assert self.process.wait(30) == 0

    def sees(self, count: int, version: int, other: int = 1) -> bool:
        """Whether the first rows are of one version and the others of another."""
        print(f"[{count}, {version}, {other}]", file=self._sink, flush=True)
        return self._source.readline() == "right\n"


@contextmanager
def reading(path: Path, ram_bytes: int) -> Iterator[Reader]:
    command = [sys.executable, "-c", PREAMBLE + READER, str(path), str(ram_bytes)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        reader = Reader(process)
        yield reader
        reader.end()


def fill(store: ParameterStore, version: int = 1) -> None:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, version))])


def update(store: ParameterStore, count: int, version: int) -> None:
    keys = KEYS[:count]
    store.update("user", keys, make_rows(SPEC, keys, version), durability="async")


@pytest.mark.slow
@pytest.mark.parametrize("ram_bytes", [0, 20_000, 1 << 20])
def test_reader_sees_updates_publications_and_the_way_back(tmp_path: Path, ram_bytes: int) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with reading(tmp_path, ram_bytes) as reader:
            assert reader.sees(0, 1)
            for version in (2, 3):
                update(store, 500, version)
                assert reader.sees(500, version)
            fill(store, 4)
            assert reader.sees(0, 4, 4)
            update(store, 100, 5)
            assert reader.sees(100, 5, 4)
            store.roll_back("user")
            assert reader.sees(500, 3)
            update(store, 600, 6)
            assert reader.sees(600, 6)


@pytest.mark.slow
@pytest.mark.parametrize("ram_bytes", [0, 1 << 20])
def test_reader_left_behind_by_the_log_forgets_everything(tmp_path: Path, ram_bytes: int) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with reading(tmp_path, ram_bytes) as reader:
            assert reader.sees(0, 1)
            reader.process.send_signal(signal.SIGSTOP)
            for version in range(2, ENTRIES_MAX + 50):
                update(store, 10, version)
            reader.process.send_signal(signal.SIGCONT)
            assert reader.sees(10, version)


@pytest.mark.slow
def test_reader_sees_updates_to_rows_that_lmdb_had_to_leave_out(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, lmdb_bytes=1 << 15, create=True) as store:
        fill(store)
        with reading(tmp_path, 0) as reader:
            assert reader.sees(0, 1)
            for version in range(2, 6):
                update(store, 2500, version)
                assert reader.sees(2500, version)
                look_up(store.table("user"), KEYS)
                store.settle()  # rows have moved up, and others out
                assert reader.sees(2500, version)


@pytest.mark.slow
def test_reader_without_a_warm_tier_follows_the_truth(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path / "s", create=True) as store:
        fill(store)
        (tmp_path / "reader").mkdir()
        (tmp_path / "reader" / "rocksdb").symlink_to(tmp_path / "s" / "rocksdb")
        with reading(tmp_path / "reader", 1 << 20) as reader:
            assert reader.sees(0, 1)
            update(store, 500, 2)
            assert reader.sees(500, 2)
            fill(store, 3)
            assert reader.sees(0, 3, 3)
