"""Damaged bytes cost time or raise an error that names the table; they never become a row."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import CorruptionError, StoreError
from sedp.storage.rows.bucket import places_of
from sedp.storage.rows.pairs import as_key_list
from sedp.storage.rows.record import seal
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.processes import run_python
from tests.storage.tables import keys_of, look_up, make_rows, some_keys

SPEC = TableSpec("user", 16, "int64")
KEYS = some_keys(500)
ROWS = make_rows(SPEC, KEYS)


KILLED_WRITER = """
store = ParameterStore.open(path)
keys = some_keys(500)[:100].copy()
rows = make_rows(store.table("user").spec, keys, 2)
store.submit_update("user", keys, rows, durability="sync").result()
os._exit(7)
"""


def make_store(path: Path) -> None:
    with ParameterStore.open(path, create=True) as store:
        store.import_table(SPEC, [(KEYS, ROWS)])


def flip(file: Path, offset: int, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1 << bit
    file.write_bytes(data)


def find(file: Path, wanted: bytes) -> int:
    offset = file.read_bytes().find(wanted)
    assert offset >= 0
    return offset


def rocksdb_file(path: Path, wanted: bytes) -> Path:
    files = (path / "rocksdb").glob("*.sst")
    [file] = [file for file in files if wanted in file.read_bytes()]
    return file


@pytest.mark.slow
def test_bit_flips_in_lmdb_values_are_answered_from_rocksdb(tmp_path: Path) -> None:
    make_store(tmp_path / "sound")
    rng = np.random.default_rng(7)
    for trial, at in enumerate(rng.integers(0, len(KEYS), 20)):
        path = tmp_path / str(trial)
        shutil.copytree(tmp_path / "sound", path)
        start = find(path / "lmdb" / "data.mdb", ROWS[at].tobytes())
        offset = start + int(rng.integers(0, SPEC.row_bytes + 8))  # row, epoch or checksum
        flip(path / "lmdb" / "data.mdb", offset, int(rng.integers(0, 8)))
        for ram_bytes in (1 << 20, 0):  # met by the loading, or by the look-up
            with ParameterStore.open(path, ram_bytes=ram_bytes) as store:
                rows, missing = look_up(store.table("user"), KEYS)
                assert not missing.any()
                assert (rows == ROWS).all()
                table = store.statistics().tables[0]
                assert table.resident == (ram_bytes > 0)
                assert {tier.tier: tier.corrupt for tier in table.tiers}["lmdb"] == 1


def test_damaged_row_in_lmdb_is_told_and_then_mended(tmp_path: Path) -> None:
    make_store(tmp_path)
    file = tmp_path / "lmdb" / "data.mdb"
    flip(file, find(file, ROWS[7].tobytes()), 3)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        report = {part.tier: part for part in store.verify().parts}
        assert (report["lmdb"].corrupt, report["lmdb"].is_sound) == (1, False)
        assert report["rocksdb"].is_sound
        assert (look_up(store.table("user"), KEYS)[0] == ROWS).all()
        store.settle()
        assert store.verify().is_sound
        before = store.statistics().tables[0].tiers[1].hits
        assert not look_up(store.table("user"), KEYS[7:8])[1].any()
        assert store.statistics().tables[0].tiers[1].hits == before + 1


def test_bit_flip_in_an_lmdb_key_does_not_hide_its_row(tmp_path: Path) -> None:
    make_store(tmp_path)
    file = tmp_path / "lmdb" / "data.mdb"
    start = find(file, ROWS[250].tobytes())
    assert file.read_bytes()[start - 8 : start] == KEYS[250].tobytes()
    flip(file, start - 1, 0)
    for ram_bytes in (0, 1 << 20):
        with ParameterStore.open(tmp_path, ram_bytes=ram_bytes) as store:
            rows, missing = look_up(store.table("user"), KEYS)
            assert (rows == ROWS).all()
            assert not missing.any()
            assert store.statistics().tables[0].resident == (ram_bytes > 0)


def test_row_whose_key_was_damaged_in_lmdb_is_put_there_again(tmp_path: Path) -> None:
    make_store(tmp_path)
    file = tmp_path / "lmdb" / "data.mdb"
    flip(file, find(file, ROWS[250].tobytes()) - 1, 0)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        asked = list[int]()
        for _ in range(3):
            before = store.statistics().tables[0].tiers[2].lookups
            assert (look_up(store.table("user"), KEYS)[0] == ROWS).all()
            store.settle()
            asked.append(store.statistics().tables[0].tiers[2].lookups - before)
        assert (asked[0], asked[-1]) == (1, 0)  # its whole bucket was emptied and filled again
        assert store.verify().is_sound


def test_bit_flip_in_rocksdb_raises_and_names_the_table(tmp_path: Path) -> None:
    make_store(tmp_path)
    file = rocksdb_file(tmp_path, ROWS[9].tobytes())
    flip(file, find(file, ROWS[9].tobytes()) + 3, 2)
    shutil.rmtree(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        with pytest.raises(
            CorruptionError, match=r"'user@1-.*not read: Corruption.*import the table"
        ):
            look_up(store.table("user"), KEYS)
        wrong = 0
        for at in range(len(KEYS)):
            try:
                rows, _ = look_up(store.table("user"), KEYS[at : at + 1])
            except CorruptionError:
                wrong += 1
            else:
                assert (rows == ROWS[at]).all()
        assert 0 < wrong < len(KEYS)
        assert not store.verify().is_sound
        store.import_table(SPEC, [(KEYS, ROWS)])
        assert (look_up(store.table("user"), KEYS)[0] == ROWS).all()


def test_lost_rows_are_told_though_updates_added_as_many(tmp_path: Path) -> None:
    """A scan ends at a damaged block without a word, and so many rows may be enough."""
    make_store(tmp_path)
    last = int(np.argmax(places_of(KEYS, "hashed")))
    file = rocksdb_file(tmp_path, ROWS[last].tobytes())
    with ParameterStore.open(tmp_path) as store:
        added = some_keys(400, seed=9)
        store.submit_update("user", added, make_rows(SPEC, added), durability="sync").result()
    flip(file, find(file, ROWS[last].tobytes()) + 3, 2)
    shutil.rmtree(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path, ram_bytes=1 << 20) as store:
        store.settle()
        assert not store.statistics().tables[0].resident
        assert [part.tier for part in store.verify().parts] == ["rocksdb"]  # LMDB is not made anew
        assert not store.verify().is_sound
        with pytest.raises(CorruptionError, match="not read"):
            look_up(store.table("user"), KEYS)
        assert (look_up(store.table("user"), added)[0] == make_rows(SPEC, added)).all()


def test_log_that_was_cut_short_is_corruption_on_opening(tmp_path: Path) -> None:
    """RocksDB itself takes what is left for all there is."""
    make_store(tmp_path)
    done = run_python(KILLED_WRITER, tmp_path)
    assert done.returncode == 7, done.stderr
    [log] = [file for file in (tmp_path / "rocksdb").glob("*.log") if file.stat().st_size]
    os.truncate(log, log.stat().st_size // 2)
    for read_only in (True, False):
        with pytest.raises(CorruptionError, match=r"of \d+ writes that were on disk .*synced"):
            ParameterStore.open(tmp_path, read_only=read_only)
    (tmp_path / "rocksdb" / "synced").unlink()
    shutil.rmtree(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path) as store:  # what is lost is given up
        assert (look_up(store.table("user"), KEYS)[0] == ROWS).all()


@pytest.mark.parametrize("content", [b"", b"short", bytes(12)])
def test_damaged_mark_of_what_was_synced_is_left_alone(tmp_path: Path, content: bytes) -> None:
    make_store(tmp_path)
    (tmp_path / "rocksdb" / "synced").write_bytes(content)
    with ParameterStore.open(tmp_path) as store:
        assert (look_up(store.table("user"), KEYS)[0] == ROWS).all()


def test_lost_list_of_files_is_not_a_new_store(tmp_path: Path) -> None:
    make_store(tmp_path)
    (tmp_path / "rocksdb" / "CURRENT").unlink()
    with pytest.raises(CorruptionError, match="writes that were on disk"):
        ParameterStore.open(tmp_path, create=True)
    assert list((tmp_path / "rocksdb").glob("*.sst"))


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
@pytest.mark.parametrize("read_only", [False, True])
def test_shortened_rocksdb_file_is_corruption_on_opening(
    tmp_path: Path, share: float, read_only: bool
) -> None:
    make_store(tmp_path)
    file = max((tmp_path / "rocksdb").glob("*.sst"), key=lambda file: file.stat().st_size)
    os.truncate(file, int(file.stat().st_size * share))
    with pytest.raises(CorruptionError, match=r"(?s)cannot be opened: .*import the table again"):
        ParameterStore.open(tmp_path, read_only=read_only)


def test_record_of_another_key_in_rocksdb_raises_with_the_count(tmp_path: Path) -> None:
    """What RocksDB's own checksums cannot see: a record filed wrongly, or of a wrong length."""
    make_store(tmp_path)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        [entry] = store._parts.versions.catalogue.entries
        family = store._parts.truth._handles.opened.families[entry.name]
        places = as_key_list(places_of(KEYS, "hashed"))
        other = seal(keys_of(1), ROWS[:1].view(np.uint8), 1, entry.seed).tobytes()
        family[places[3]], family[places[4]], family[places[5]] = other, b"short", b""
        assert (look_up(store.table("user"), KEYS[3:6])[0] == ROWS[3:6]).all()  # from LMDB
        report = {part.tier: part.corrupt for part in store.verify().parts}
        assert report == {"rocksdb": 3, "lmdb": 0}
    shutil.rmtree(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        with pytest.raises(
            CorruptionError, match=r"'user' version 1: 3 of 500 rows asked of RocksDB do not"
        ):
            look_up(store.table("user"), KEYS)
        assert (look_up(store.table("user"), KEYS[6:])[0] == ROWS[6:]).all()


def test_unreadable_warm_tier_is_rebuilt(tmp_path: Path) -> None:
    make_store(tmp_path)
    (tmp_path / "lmdb" / "data.mdb").write_bytes(b"no LMDB file at all" * 1000)
    with ParameterStore.open(tmp_path) as store:
        store.settle()
        assert store.verify().is_sound
        assert store.statistics().tables[0].tiers[1].rows > 0.9 * len(KEYS)


def test_unreadable_truth_is_an_error_that_names_the_store(tmp_path: Path) -> None:
    make_store(tmp_path)
    current = tmp_path / "rocksdb" / "CURRENT"
    current.write_bytes(b"MANIFEST-999999\n")
    with pytest.raises(StoreError, match=f"store {tmp_path} cannot be opened"):
        ParameterStore.open(tmp_path)
