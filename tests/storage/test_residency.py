"""A table whose rows are all in RAM asks no other tier; one that lacks a row is no such table."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import CorruptionError
from sedp.storage.ram.budget import NOTHING
from sedp.storage.rows.bucket import places_of
from sedp.storage.rows.pairs import as_key_list
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.table import Table
from tests.storage.tables import Keys, look_up, make_rows, some_keys
from tests.storage.threads import run_in_threads

SPEC = TableSpec("user", 3, "int32", default=(7, 8, 9))
KEYS = some_keys(2000)
UNKNOWN = some_keys(300, seed=5)
MIXED = np.random.default_rng(3).permutation(np.concatenate([KEYS, UNKNOWN, KEYS[:9]]))


def check_rows(table: Table, version: int = 1) -> None:
    rows, missing = look_up(table, MIXED)
    assert (missing == np.isin(MIXED, UNKNOWN)).all()
    assert (rows[missing] == SPEC.default).all()
    assert (rows[~missing] == make_rows(SPEC, MIXED[~missing], version)).all()


def is_resident(store: ParameterStore) -> bool:
    return store.statistics().tables[0].resident


def publish(store: ParameterStore, version: int = 1) -> None:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, version))])


def open_small(tmp_path: Path, ram_bytes: int = 1 << 20) -> ParameterStore:
    return ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True)


def asked_below(store: ParameterStore) -> int:
    _, *cold, _ = store.statistics().tables[0].tiers
    return sum(tier.lookups for tier in cold)


def damage_truth(store: ParameterStore, keys: Keys) -> None:
    [entry] = store._parts.versions.catalogue.entries
    family = store._parts.truth._handles.opened.families[entry.name]
    for place in as_key_list(places_of(keys, SPEC.layout)):
        family[place] = b"short"


def damage_warm(path: Path, keys: Keys) -> None:
    file = path / "lmdb" / "data.mdb"
    data = file.read_bytes()
    for row in make_rows(SPEC, keys):
        assert row.tobytes() in data
        data = data.replace(row.tobytes(), bytes(SPEC.row_bytes))
    file.write_bytes(data)


def test_resident_table_asks_no_tier_below(tmp_path: Path) -> None:
    with open_small(tmp_path) as store:
        publish(store)
        for _ in range(2):
            check_rows(store.table("user"))
        table = store.statistics().tables[0]
        assert (table.resident, asked_below(store)) == (True, 0)
        assert (table.lookups, table.defaults) == (2 * len(MIXED), 2 * len(UNKNOWN))


def test_rows_one_tier_lacks_are_loaded_from_the_next(tmp_path: Path) -> None:
    with open_small(tmp_path, 0) as store:
        publish(store)
    damage_warm(tmp_path, KEYS[3:6])
    with open_small(tmp_path) as store:
        check_rows(store.table("user"))
        assert (is_resident(store), asked_below(store)) == (True, 0)


def test_table_whose_truth_is_damaged_goes_on_asking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_small(tmp_path, 0) as store:
        publish(store)
        damage_truth(store, KEYS[3:4])
    shutil.rmtree(tmp_path / "lmdb")
    with caplog.at_level(logging.WARNING), open_small(tmp_path) as store:
        assert "'user' version 1: RAM got 1999 of its 2000 rows" in caplog.text
        assert not is_resident(store)
        assert (look_up(store.table("user"), KEYS[4:])[0] == make_rows(SPEC, KEYS[4:])).all()


def test_table_that_no_longer_fits_asks_again(tmp_path: Path) -> None:
    with open_small(tmp_path, 200_000) as store:
        publish(store)
        assert is_resident(store)
        wide = TableSpec("wide", 500, "int32")
        store.import_table(wide, [(KEYS, make_rows(wide, KEYS))])
        check_rows(store.table("user"))
        fits = {table.spec.name: table.resident for table in store.statistics().tables}
        assert fits["wide"] is False


@pytest.mark.slow
def test_known_rows_are_never_missing_while_residency_comes_and_goes(tmp_path: Path) -> None:
    with open_small(tmp_path) as store:
        publish(store)
        [version] = store._parts.versions.all()
        whole = version.share

        def work(seed: int) -> None:
            for _ in range(50):
                if seed == 0:
                    version.resize(NOTHING)
                    version.resize(whole)
                else:
                    rows, missing = look_up(store.table("user"), KEYS[:50])
                    assert not missing.any()
                    assert (rows == make_rows(SPEC, KEYS[:50])).all()

        run_in_threads(work)
        assert is_resident(store)


def test_store_loads_at_open_and_after_an_import(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=1 << 20, create=True) as store:
        publish(store)
        assert is_resident(store)
    with ParameterStore.open(tmp_path, ram_bytes=1 << 20) as store:
        assert is_resident(store)
        publish(store, 2)
        assert is_resident(store)
        assert not store.table("user", 1).statistics().resident
        check_rows(store.table("user", 1), 1)
        check_rows(store.table("user"), 2)
        assert asked_below(store) == 0


@pytest.mark.parametrize("ram_bytes", [0, 2000, 60_000])
def test_table_too_large_for_its_ram_is_right_and_not_resident(
    tmp_path: Path, ram_bytes: int
) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True) as store:
        publish(store)
        for _ in range(2):
            check_rows(store.table("user"))
        statistics = store.statistics()
        assert not statistics.tables[0].resident
        assert statistics.ram_bytes <= ram_bytes


def test_table_without_rows_is_resident(store: ParameterStore) -> None:
    store.import_table(SPEC, [])
    assert look_up(store.table("user"), UNKNOWN)[1].all()
    assert is_resident(store)


def test_row_damaged_in_both_tiers_is_not_taken_for_absent(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        publish(store)
        damage_truth(store, KEYS[3:4])
    damage_warm(tmp_path, KEYS[3:4])
    with ParameterStore.open(tmp_path, ram_bytes=1 << 20) as store:
        assert not is_resident(store)
        assert (look_up(store.table("user"), KEYS[4:])[0] == make_rows(SPEC, KEYS[4:])).all()
        with pytest.raises(CorruptionError, match="1 of 1 rows asked of RocksDB"):
            look_up(store.table("user"), KEYS)


def test_reader_loads_from_the_truth_where_there_is_no_warm_tier(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        publish(store)
    shutil.rmtree(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path, read_only=True) as store:
        assert is_resident(store)
        check_rows(store.table("user"))
