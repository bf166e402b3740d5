"""A disk that fails in the middle of an update: nothing is lost, torn, or thought to be there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.store import ParameterStore
from tests.storage.full_lmdb import let_lmdb_be_full
from tests.storage.updated import KEYS, NEW, SPEC, check, fill, rows_of


def raise_full(*args: object, **kwargs: object) -> None:
    raise StoreError("disk is full")


def test_id_of_a_failed_update_is_not_remembered(
    store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    with monkeypatch.context() as patch:
        patch.setattr(RocksDatabase, "write_rows", raise_full)
        with pytest.raises(StoreError, match="disk is full"):
            store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a")
    check(store, KEYS[:0], 0)
    assert not store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a").is_repeat
    check(store, KEYS[:5], 2)


def test_truth_that_refuses_leaves_every_tier_as_it_was(
    any_store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RocksDatabase, "write_rows", raise_full)
        with pytest.raises(StoreError, match="disk is full"):
            any_store.update("user", KEYS[:5], rows_of(KEYS[:5], 2))
    check(any_store, KEYS[:0], 0)
    assert any_store.update("user", KEYS[:5], rows_of(KEYS[:5], 3)).epoch == 1
    check(any_store, KEYS[:5], 3)


def test_warm_tier_that_cannot_commit_is_not_asked_until_it_has_caught_up(
    any_store: ParameterStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check(any_store, KEYS[:0], 0)
    with monkeypatch.context() as patch:
        let_lmdb_be_full(patch)
        any_store.update("user", KEYS[:5], rows_of(KEYS[:5], 2))
        assert "LMDB is behind" in caplog.text
        check(any_store, KEYS[:5], 2)
    any_store.update("user", NEW[:1], rows_of(NEW[:1], 2))
    before = any_store.statistics().tables[0].tiers[2].lookups
    check(any_store, np.concatenate([KEYS[:5], NEW[:1]]), 2)
    assert any_store.verify().is_sound
    asked = any_store.statistics().tables[0].tiers[2].lookups - before
    assert asked <= len(NEW) + 20  # what has no row, and the few without a slot


def test_writer_killed_while_the_warm_tier_is_behind_does_not_serve_old_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a")
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        check(store, KEYS[:5], 2)
        store.settle()
        assert store.update("user", KEYS[:5], rows_of(KEYS[:5], 2), id="a").is_repeat
        check(store, KEYS[:5], 2)


def test_table_gone_while_the_warm_tier_was_behind_stops_no_update(
    store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    with monkeypatch.context() as patch:
        let_lmdb_be_full(patch)
        store.update("user", KEYS[:5], rows_of(KEYS[:5], 2))
    for _ in range(2):
        fill(store)
    store.update("user", KEYS[:5], rows_of(KEYS[:5], 3))
    check(store, KEYS[:5], 3)


def test_update_that_was_written_but_not_synced_is_whole_and_told_of(
    any_store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = np.concatenate([KEYS[:5], NEW])
    check(any_store, KEYS[:0], 0)
    with monkeypatch.context() as patch:
        patch.setattr(RocksDatabase, "flush_wal", raise_full)
        with pytest.raises(StoreError, match="disk is full"):
            any_store.update("user", changed, rows_of(changed, 2), id="a")
        check(any_store, changed, 2)
        with pytest.raises(StoreError, match="disk is full"):
            any_store.update("user", changed, rows_of(changed, 2), id="a")
    assert any_store.update("user", changed, rows_of(changed, 2), id="a").is_repeat
    any_store.update("user", changed[3:], rows_of(changed[3:], 2))
    check(any_store, changed, 2)


def test_version_published_while_lmdb_cannot_commit_is_current_and_gets_the_updates(
    store: ParameterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    with monkeypatch.context() as patch:
        let_lmdb_be_full(patch)
        assert store.import_table(SPEC, [(KEYS, rows_of(KEYS, 1))]).version == 2
        assert store.table("user").spec.version == 2
    store.update("user", KEYS[:5], rows_of(KEYS[:5], 2))
    check(store, KEYS[:5], 2)
    store.close()
    with ParameterStore.open(tmp_path / "store") as reopened:
        assert reopened.table("user").spec.version == 2
        check(reopened, KEYS[:5], 2)
