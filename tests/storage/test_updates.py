"""Online updates: seen with the receipt, applied once, whole, the same in every tier."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.ids import IDS_MAX, Ids
from sedp.storage.updates.rebuilding import Rebuilder
from sedp.storage.updates.updates import Durability, Receipt, Update
from tests.storage.tables import keys_of, look_up, make_rows, some_keys
from tests.storage.updated import KEYS, NEW, SPEC, check, fill, rows_of

DURABILITIES: tuple[Durability, ...] = ("none", "async", "sync")


@pytest.mark.parametrize("durability", ["async", "sync"])
def test_rows_are_seen_once_the_receipt_is_there(
    any_store: ParameterStore, durability: Durability
) -> None:
    check(any_store, KEYS[:0], 0)
    changed = np.concatenate([KEYS[::7], NEW[:5]])
    for version in (2, 3):
        receipt = any_store.update(
            "user", changed, rows_of(changed, version), durability=durability
        )
        assert receipt == Receipt(version - 1, durability)
        check(any_store, changed, version)


def test_key_known_to_be_absent_gets_its_row(any_store: ParameterStore) -> None:
    for _ in range(2):
        assert look_up(any_store.table("user"), NEW)[1].all()
    any_store.update("user", NEW, rows_of(NEW, 2))
    check(any_store, NEW, 2)


@pytest.mark.parametrize("ram_bytes", [4_000, 8_000, 16_000])
def test_key_known_to_be_absent_gets_its_row_also_where_lmdb_has_no_room(
    tmp_path: Path, ram_bytes: int
) -> None:
    spec = TableSpec("user", 40, "int64")  # 24 rows a bucket
    keys, new = some_keys(100), some_keys(100, seed=5)
    with ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True) as store:
        store.import_table(spec, [(keys, make_rows(spec, keys))])
        for _ in range(3):
            assert look_up(store.table("user"), new)[1].all()
        assert store.statistics().tables[0].tiers[3].hits > 0  # some are known to be absent
        store.update("user", new, make_rows(spec, new))
        rows, missing = look_up(store.table("user"), new)
        assert not missing.any()
        assert (rows == make_rows(spec, new)).all()


def test_last_row_of_a_repeated_key_counts(store: ParameterStore) -> None:
    fill(store)
    store.update("user", keys_of(5, 3, 5), np.int32([[1] * 3, [2] * 3, [3] * 3]))
    assert look_up(store.table("user"), keys_of(3, 5))[0][:, 0].tolist() == [2, 3]


def test_updates_are_there_after_reopening_and_in_a_rebuilt_warm_tier(tmp_path: Path) -> None:
    changed = np.concatenate([KEYS[:50], NEW])
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        for durability in DURABILITIES:
            store.update("user", changed, rows_of(changed, 2), durability=durability)
    for lose_warm in (False, True):
        if lose_warm:
            shutil.rmtree(tmp_path / "lmdb")
        for ram_bytes in (0, 1 << 20):
            with ParameterStore.open(tmp_path, ram_bytes=ram_bytes) as store:
                check(store, changed, 2)
                store.settle()
                check(store, changed, 2)
                assert store.verify().is_sound


def test_update_after_reopening(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
    for version in (2, 3):
        with ParameterStore.open(tmp_path, ram_bytes=0) as store:
            assert store.update("user", KEYS[:9], rows_of(KEYS[:9], version)).epoch == version - 1
            check(store, KEYS[:9], version)


def test_update_while_the_warm_tier_is_rebuilt_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
    shutil.rmtree(tmp_path / "lmdb")
    opened: list[ParameterStore] = []
    is_open, attach = threading.Event(), Rebuilder._attach

    def attach_later(*args: Any) -> bool:
        assert is_open.wait(10)  # all rows have been read from the truth
        opened[0].update("user", KEYS[:9], rows_of(KEYS[:9], 2))
        return attach(*args)

    monkeypatch.setattr(Rebuilder, "_attach", attach_later)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        opened.append(store)
        is_open.set()
        store.settle()
        check(store, KEYS[:9], 2)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        check(store, KEYS[:9], 2)
        assert store.statistics().tables[0].tiers[1].hits > 0.9 * len(KEYS)


# Ids ------------------------------------------------------------------------------------------


def test_update_sent_again_is_not_applied_again(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        first = store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a")
        store.update("user", KEYS[:5], rows_of(KEYS[:5], 3), id="b")
        again = store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a")
        assert (first.is_repeat, again) == (False, Receipt(first.epoch, "sync", is_repeat=True))
        check(store, KEYS[:5], 3)
    with ParameterStore.open(tmp_path) as store:
        assert store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a") == again
        check(store, KEYS[:5], 3)


def test_id_given_twice_in_one_group_counts_once(store: ParameterStore) -> None:
    fill(store)
    committer = store._parts.writer("commit").committer
    stored = SPEC.encode(np.concatenate([rows_of(KEYS[:1], 2), rows_of(KEYS[:1], 3)]))
    group = [Update(SPEC, KEYS[:1], stored[at : at + 1], "sync", "a") for at in (0, 1)]
    first, second = committer.commit(group, True)
    assert (first.is_repeat, second.is_repeat, second.epoch) == (False, True, first.epoch)
    check(store, KEYS[:1], 2)


def test_ids_of_one_table_are_not_those_of_another(store: ParameterStore) -> None:
    fill(store)
    other = replace(SPEC, name="other")
    store.import_table(other, [])
    committer = store._parts.writer("commit").committer
    stored = SPEC.encode(rows_of(KEYS[:1], 2))
    group = [Update(spec, KEYS[:1], stored, "sync", "a") for spec in (SPEC, other)]
    assert [receipt.is_repeat for receipt in committer.commit(group, True)] == [False, False]
    for name in ("user", "other"):
        assert (look_up(store.table(name), KEYS[:1])[0] == rows_of(KEYS[:1], 2)).all()
        assert store.update(name, KEYS[:1], rows_of(KEYS[:1], 3), id="a").is_repeat


def test_repeat_that_asks_for_sync_is_synced(
    store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a", durability="async")
    synced: list[int] = []
    flush = RocksDatabase.flush_wal
    monkeypatch.setattr(RocksDatabase, "flush_wal", lambda self: synced.append(1) or flush(self))
    assert store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a").is_repeat
    assert synced


def test_oldest_ids_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert IDS_MAX == 1 << 16
    monkeypatch.setattr("sedp.storage.updates.ids.IDS_MAX", 3)
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        for number in range(5):
            store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id=f"id {number}")
    with ParameterStore.open(tmp_path) as store:
        ids = Ids(store._parts.truth)
        known = [number for number in range(5) if ids.epoch_of(f"user\0id {number}")]
        assert known == [2, 3, 4]
