"""What the database of the truth promises of rows and small values that are written one by one."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rows.pairs import as_key_list
from tests.storage.processes import run_python
from tests.storage.tables import keys_of, some_keys

WIDTH = 20

Records = NDArray[np.uint8]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[RocksDatabase]:
    opened = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=True)
    opened.create("a")
    opened.create("b")
    yield opened
    opened.close()


def reopen(database: RocksDatabase, tmp_path: Path) -> RocksDatabase:
    database.close()
    return RocksDatabase(tmp_path / "rocksdb", read_only=False, create=False)


def records_of(*numbers: int) -> Records:
    """A record that says its number WIDTH times."""
    return np.repeat(np.array(numbers, dtype=np.uint8), WIDTH).reshape(-1, WIDTH)


def as_bytes(*numbers: int) -> list[bytes]:
    return [bytes([number]) * WIDTH for number in numbers]


def test_versions_and_small_values_change_in_one_call(
    database: RocksDatabase, tmp_path: Path
) -> None:
    database.put_meta([(b"old", b"1")])
    changes = [
        ("a", keys_of(1, 2), records_of(11, 12)),
        ("b", keys_of(2, 1 << 63), records_of(22, 23)),
    ]
    database.write_rows(changes, [(b"old", None), (b"new", b"2")], sync=True)
    check_both_versions(database)
    again = reopen(database, tmp_path)
    check_both_versions(again)
    again.close()


def check_both_versions(database: RocksDatabase) -> None:
    assert database.read("a", keys_of(1, 2, 3)) == [*as_bytes(11, 12), None]
    assert database.read("b", keys_of(1 << 63, 2)) == as_bytes(23, 22)
    assert (database.get_meta(b"old"), database.get_meta(b"new")) == (None, b"2")


def test_last_of_a_repeated_key_counts(database: RocksDatabase) -> None:
    database.write_rows([("a", keys_of(5, 6, 5), records_of(1, 2, 3))], sync=False)
    assert database.read("a", keys_of(5, 6)) == as_bytes(3, 2)


def test_written_row_replaces_an_imported_one(database: RocksDatabase, tmp_path: Path) -> None:
    database.write_file(tmp_path / "a.sst", keys_of(1, 2, 3), records_of(1, 2, 3))
    database.ingest("a", [tmp_path / "a.sst"])
    database.write_rows([("a", keys_of(2), records_of(9))], sync=True)
    assert database.read("a", keys_of(1, 2, 3)) == as_bytes(1, 9, 3)
    assert list(database.scan("a")) == list(
        zip(as_key_list(keys_of(1, 2, 3)), as_bytes(1, 9, 3), strict=True)
    )


def test_scan_begins_at_a_key(database: RocksDatabase) -> None:
    keys = np.arange(0, 20, 2, dtype=np.uint64)
    database.write_rows([("a", keys, records_of(*range(10)))], sync=False)
    listed = as_key_list(keys)
    for start, first in ((None, 0), (listed[4], 4), (as_key_list(keys_of(9))[0], 5)):
        assert [key for key, _ in database.scan("a", start)] == listed[first:]


def test_nothing_is_written_when_a_version_is_unknown(database: RocksDatabase) -> None:
    changes = [("a", keys_of(1), records_of(1)), ("gone", keys_of(1), records_of(1))]
    with pytest.raises(StoreError, match="version 'gone' was dropped; look up the current"):
        database.write_rows(changes, [(b"k", b"v")], sync=True)
    assert database.read("a", keys_of(1)) == [None]
    assert database.get_meta(b"k") is None
    database.write_rows(changes[:1], sync=True)  # a wrong call is no failure of the disk
    assert database.read("a", keys_of(1)) == as_bytes(1)


def test_dropped_version_and_closed_database_say_so(database: RocksDatabase) -> None:
    database.write_rows([("a", keys_of(1), records_of(1))], sync=False)
    database.drop("a")
    assert (database.names, database.bytes("a")) == ({"b"}, 0)
    with pytest.raises(StoreError, match="version 'a' was dropped"):
        database.read("a", keys_of(1))
    database.close()
    uses: list[Callable[[], object]] = [
        lambda: database.read("b", keys_of(1)),
        lambda: database.write_rows([], [(b"k", b"v")], sync=True),
        database.flush_wal,
        lambda: database.get_meta(b"k"),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="is closed; open it again"):
            use()
    database.close()  # once more does no harm


@pytest.mark.parametrize("count", [0, 1, 511, 512, 5000])
@pytest.mark.parametrize("is_cold", [False, True])
def test_records_of_all_parts_come_back_in_order(
    database: RocksDatabase, count: int, is_cold: bool
) -> None:
    keys = some_keys(2000)
    records = np.random.default_rng(0).integers(0, 256, (len(keys), WIDTH), dtype=np.uint8)
    database.write_rows([("a", keys, records)], sync=False)
    chosen = np.random.default_rng(1).integers(0, len(keys), count)
    asked = keys[chosen]
    asked[::7] += np.uint64(1)  # absent
    database._threads._is_cold = is_cold
    got = database.read("a", asked)
    assert got == [
        records[row].tobytes() if at % 7 else None for at, row in enumerate(chosen.tolist())
    ]


def test_checkpoint_is_a_database_of_that_moment(database: RocksDatabase, tmp_path: Path) -> None:
    database.write_rows([("a", keys_of(1), records_of(1))], [(b"k", b"1")], sync=False)
    database.checkpoint(tmp_path / "copy")
    database.write_rows([("a", keys_of(1), records_of(2))], [(b"k", b"2")], sync=True)
    copy = RocksDatabase(tmp_path / "copy", read_only=False, create=False)
    assert copy.names == {"a", "b"}
    assert (copy.read("a", keys_of(1)), copy.get_meta(b"k")) == (as_bytes(1), b"1")
    copy.write_rows([("a", keys_of(1), records_of(3))], sync=True)
    copy.close()
    assert database.read("a", keys_of(1)) == as_bytes(2)
    with pytest.raises(StoreError, match=r"no checkpoint made at .*copy"):
        database.checkpoint(tmp_path / "copy")


def test_reader_does_not_write(database: RocksDatabase, tmp_path: Path) -> None:
    reader = RocksDatabase(tmp_path / "rocksdb", read_only=True, create=False)
    writes: list[Callable[[], object]] = [
        lambda: reader.put_meta([(b"k", b"v")]),
        lambda: reader.create("c"),
    ]
    for write in writes:
        with pytest.raises(StoreError, match="is open read-only; open it for writing"):
            write()
    reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("sync", [True, False])
def test_killed_writer_loses_nothing_it_acknowledged(sync: bool, tmp_path: Path) -> None:
    killed = run_python(
        f"""
from sedp.storage.rocksdb.database import RocksDatabase
database = RocksDatabase(path / "rocksdb", read_only=False, create=True)
database.create("a")
for turn in range(200):
    keys = np.arange(turn, turn + 100, dtype=np.uint64)
    records = np.full((100, {WIDTH}), turn, dtype=np.uint8)
    database.write_rows([("a", keys, records)], [(b"turn", b"%d" % turn)], sync={sync})
os.kill(os.getpid(), signal.SIGKILL)
""",
        tmp_path,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    database = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=False)
    assert database.get_meta(b"turn") == b"199"
    held = database.read("a", np.arange(299, dtype=np.uint64))
    assert held == as_bytes(*np.minimum(np.arange(299), 199).tolist())
    database.close()


NAMES = ("a", "b")
Step = tuple[str, list[tuple[int, int]], list[tuple[int, int]], list[tuple[int, int]]]
PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 255)), max_size=8)
STEPS = st.lists(
    st.tuples(st.sampled_from(["sync", "async", "reopen", "file"]), PAIRS, PAIRS, PAIRS), max_size=8
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_database_is_a_dict_that_outlives_its_process(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rocksdb"
        database = RocksDatabase(path, read_only=False, create=True)
        for name in NAMES:
            database.create(name)
        model: dict[str, dict[int, int]] = {name: {} for name in NAMES}
        small: dict[int, int] = {}
        for at, (kind, *rows, extra) in enumerate(steps):
            if kind == "file":
                database.write_file(path / f"{at}.sst", *sorted_rows(rows[0]))
                if rows[0]:
                    database.ingest("a", [path / f"{at}.sst"])
                    model["a"].update(rows[0])
            else:
                write(database, rows, extra, kind == "sync")
                for name, pairs in zip(NAMES, rows, strict=True):
                    model[name].update(pairs)
                for key, value in extra:
                    small[key] = value
            if kind == "reopen":
                database.close()
                database = RocksDatabase(path, read_only=False, create=False)
            check(database, model, small)
        database.close()


def sorted_rows(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.uint64], Records]:
    chosen = sorted(dict(pairs or [(0, 0)]).items())
    return keys_of(*(key for key, _ in chosen)), records_of(*(value for _, value in chosen))


def write(
    database: RocksDatabase,
    rows: list[list[tuple[int, int]]],
    extra: list[tuple[int, int]],
    sync: bool,
) -> None:
    changes = [
        (name, keys_of(*(key for key, _ in pairs)), records_of(*(value for _, value in pairs)))
        for name, pairs in zip(NAMES, rows, strict=True)
    ]
    pairs = [(b"%d" % key, bytes([value]) if value % 5 else None) for key, value in extra]
    database.write_rows(changes, pairs, sync=sync)


def check(database: RocksDatabase, model: dict[str, dict[int, int]], small: dict[int, int]) -> None:
    for name, rows in model.items():
        records = database.read(name, np.arange(31, dtype=np.uint64))
        assert records == [bytes([rows[key]]) * WIDTH if key in rows else None for key in range(31)]
        assert [key for key, _ in database.scan(name)] == as_key_list(keys_of(*sorted(rows)))
    for key, value in small.items():
        assert database.get_meta(b"%d" % key) == (bytes([value]) if value % 5 else None)
