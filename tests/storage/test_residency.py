"""A table whose rows are all in RAM asks no other tier; one that lacks a row is no such table."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.errors import CorruptionError
from sedp.storage.budget import NOTHING, Share, divide
from sedp.storage.pairs import as_key_list
from sedp.storage.store import ParameterStore
from sedp.storage.table import Table, TableSpec
from sedp.storage.tier import ColdTier, Keys, Mask, Rows, TierStatistics
from tests.storage.tables import keys_of, look_up, make_rows, some_keys
from tests.storage.threads import run_in_threads

SPEC = TableSpec("user", 3, "int32", default=(7, 8, 9))
KEYS = some_keys(2000)
UNKNOWN = some_keys(300, seed=5)
MIXED = np.random.default_rng(3).permutation(np.concatenate([KEYS, UNKNOWN, KEYS[:9]]))
WHOLE = divide(1 << 20, [(len(KEYS), SPEC.row_bytes)])[0]


class SpiedTier(ColdTier):
    """Rows in a dict; `hidden` leaves some out of scans, as damage does."""

    def __init__(self, keys: Keys, hidden: int = 0) -> None:
        self.keys, self.hidden, self.asked = keys, hidden, 0
        self.rows = make_rows(SPEC, keys).view(np.uint8)

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        self.asked += len(keys)
        held = dict(zip(self.keys.tolist(), self.rows, strict=True))
        for at, key in enumerate(keys.tolist()):
            missing[at] = key not in held
            if not missing[at]:
                out[at] = held[key]
        return int(np.count_nonzero(missing))

    def scan(self) -> Iterator[tuple[Keys, Rows]]:
        for start in range(0, len(self.keys) - self.hidden, 700):
            part = slice(start, min(start + 700, len(self.keys) - self.hidden))
            yield self.keys[part], self.rows[part]

    def statistics(self) -> TierStatistics:
        return TierStatistics("spied", self.asked, 0, 0, len(self.keys), 0)


def check_rows(table: Table, version: int = 1) -> None:
    rows, missing = look_up(table, MIXED)
    assert (missing == np.isin(MIXED, UNKNOWN)).all()
    assert (rows[missing] == SPEC.default).all()
    assert (rows[~missing] == make_rows(SPEC, MIXED[~missing], version)).all()


def is_resident(store: ParameterStore) -> bool:
    return store.statistics().tables[0].resident


def publish(store: ParameterStore, version: int = 1) -> None:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, version))])


def test_resident_table_asks_no_tier_below() -> None:
    tier = SpiedTier(KEYS)
    table = Table(SPEC, len(KEYS), [tier])
    table.resize(WHOLE)
    for _ in range(2):
        check_rows(table)
    statistics = table.statistics()
    assert (statistics.resident, tier.asked) == (True, 0)
    assert (statistics.lookups, statistics.defaults) == (2 * len(MIXED), 2 * len(UNKNOWN))


def test_rows_one_tier_hides_are_loaded_from_the_next() -> None:
    warm, truth = SpiedTier(KEYS, hidden=3), SpiedTier(KEYS)
    table = Table(SPEC, len(KEYS), [warm, truth])
    table.resize(WHOLE)
    check_rows(table)
    assert (table.statistics().resident, warm.asked, truth.asked) == (True, 0, 0)


def test_table_that_lacks_a_row_goes_on_asking(caplog: pytest.LogCaptureFixture) -> None:
    tier = SpiedTier(KEYS, hidden=1)
    table = Table(SPEC, len(KEYS), [tier])
    with caplog.at_level(logging.WARNING):
        table.resize(WHOLE)
    assert "'user' version 0: RAM got 1999 of its 2000 rows" in caplog.text
    check_rows(table)
    assert (table.statistics().resident, tier.asked) == (False, len(UNKNOWN) + 1)


@pytest.mark.parametrize("share", [NOTHING, divide(50_000, [(len(KEYS), SPEC.row_bytes)])[0]])
def test_table_that_no_longer_fits_asks_again(share: Share) -> None:
    tier = SpiedTier(KEYS)
    table = Table(SPEC, len(KEYS), [tier])
    table.resize(WHOLE)
    table.resize(share)
    check_rows(table)
    assert not table.statistics().resident
    assert tier.asked > len(KEYS) // 2


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.integers(0, 90) | st.integers(0, (1 << 64) - 1), st.integers(-9, 9)),
    st.lists(st.integers(0, 90), max_size=60),
)
def test_resident_answers_equal_a_dict(rows: dict[int, int], wanted: list[int]) -> None:
    spec = TableSpec("t", 1, "int64", default=(-77,))
    tier = SpiedTier(keys_of(*rows))
    tier.rows = np.array(list(rows.values()), np.int64).reshape(-1, 1).view(np.uint8)
    table = Table(spec, len(rows), [tier])
    table.resize(divide(1 << 16, [(len(rows), 8)])[0])
    wanted = [*wanted, *rows]
    found, missing = look_up(table, keys_of(*wanted))
    assert found.ravel().tolist() == [rows.get(key, -77) for key in wanted]
    assert missing.tolist() == [key not in rows for key in wanted]
    assert (table.statistics().resident, tier.asked) == (True, 0)


@pytest.mark.slow
def test_known_rows_are_never_missing_while_residency_comes_and_goes() -> None:
    table = Table(SPEC, len(KEYS), [SpiedTier(KEYS)])

    def work(seed: int) -> None:
        for _ in range(100):
            if seed == 0:
                table.resize(NOTHING)
                table.resize(WHOLE)
            else:
                rows, missing = look_up(table, KEYS[:50])
                assert not missing.any()
                assert (rows == make_rows(SPEC, KEYS[:50])).all()

    run_in_threads(work)
    assert table.statistics().resident


def test_store_loads_at_open_and_after_an_import(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=1 << 20, create=True) as store:
        publish(store)
        assert is_resident(store)
    with ParameterStore.open(tmp_path, ram_bytes=1 << 20) as store:
        assert is_resident(store)
        held = store.table("user")
        publish(store, 2)
        assert is_resident(store)
        assert not held.statistics().resident
        check_rows(held, 1)
        check_rows(store.table("user"), 2)
        cold = store.statistics().tables[0].tiers[2:]
        assert [tier.lookups for tier in cold] == [0, 0]


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
        [entry] = store._catalogue.entries
        store._truth._families[entry.name][as_key_list(KEYS)[3]] = b"short"
    file = tmp_path / "lmdb" / "data.mdb"
    row = make_rows(SPEC, KEYS)[3].tobytes()
    file.write_bytes(file.read_bytes().replace(row, bytes(len(row))))
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
