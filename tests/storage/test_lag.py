"""An LMDB that cannot commit for a while: memory is bounded, and nobody serves older rows."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.updates import following, lag
from sedp.storage.updates.lag import CompleteMark
from tests.storage.full_lmdb import let_lmdb_be_full
from tests.storage.reading import KEYS, SPEC, check_rows, fill, reading, update
from tests.storage.tables import make_rows

RAM_BYTES = [0, 20_000, 1 << 20]


def warm_rows(store: ParameterStore) -> int:
    """That LMDB answers for; 0 if it has no part of the table."""
    tiers = {tier.tier: tier for tier in store.statistics().tables[0].tiers}
    return tiers["lmdb"].rows if "lmdb" in tiers else 0


@pytest.mark.slow
@pytest.mark.parametrize("ram_bytes", RAM_BYTES)
def test_reader_that_runs_while_lmdb_lacks_updates_sees_them(
    tmp_path: Path, ram_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with reading(tmp_path, ram_bytes) as reader:
            assert reader.sees(0, 1)
            update(store, 50, 2)
            assert reader.sees(50, 2)
            with monkeypatch.context() as patch:
                let_lmdb_be_full(patch)
                for version in (3, 4):
                    update(store, 60, version)
                    assert reader.sees(60, version)
                fill(store, 5)
                update(store, 10, 6)
                assert reader.sees(10, 6, 5)
                store.roll_back("user")
                assert reader.sees(60, 4)
            update(store, 70, 7)
            assert reader.sees(70, 7)


@pytest.mark.slow
@pytest.mark.parametrize("ram_bytes", RAM_BYTES)
def test_reader_that_opens_while_lmdb_lacks_updates_sees_them(
    tmp_path: Path, ram_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            update(store, 60, 2)
            with reading(tmp_path, ram_bytes) as reader:
                assert reader.sees(60, 2)
                update(store, 60, 3)
                assert reader.sees(60, 3)
    monkeypatch.setattr(following, "FOLLOW_S", 60.0)  # what the first look-up sees counts
    with ParameterStore.open(tmp_path, ram_bytes=ram_bytes, read_only=True) as store:
        check_rows(store.table("user"), 60, 3)


@pytest.mark.slow
@pytest.mark.parametrize("ram_bytes", RAM_BYTES)
def test_version_that_lmdb_lacks_too_much_of_is_made_anew(
    tmp_path: Path, ram_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "LAG_KEYS_MAX", 100)
    with ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True) as store:
        fill(store)
        held = warm_rows(store)
        with reading(tmp_path, ram_bytes) as reader:
            with monkeypatch.context() as patch:
                let_lmdb_be_full(patch)
                update(store, 90, 2)
                update(store, 150, 3)
                update(store, 60, 3)
                check_rows(store.table("user"), 150, 3)
                assert reader.sees(150, 3)
            update(store, 150, 4)
            check_rows(store.table("user"), 150, 4)
            assert reader.sees(150, 4)
            store._parts._watch()
            store.settle()
            assert warm_rows(store) == held
            for version in (5, 6):
                check_rows(store.table("user"), 150, version - 1)
                update(store, 150, version)
                assert reader.sees(150, version)
        assert store.verify().is_sound


def test_writer_that_ended_while_lmdb_lacked_too_much_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "LAG_KEYS_MAX", 100)
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        held = warm_rows(store)
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            update(store, 90, 2)
            update(store, 150, 3)
            update(store, 10, 3)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        check_rows(store.table("user"), 150, 3)
        store.settle()
        assert warm_rows(store) == held
        check_rows(store.table("user"), 150, 3)


def test_what_lmdb_lacks_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "LAG_KEYS_MAX", 100)
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        committer = store._parts.writer("test").committer
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            for version, start in enumerate(range(0, 1000, 80), 2):
                keys = KEYS[start : start + 80]
                store.update("user", keys, make_rows(SPEC, keys, version))
                assert sum(map(len, committer._lag.keys.values())) <= 100


def test_lmdb_catches_up_without_another_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = CompleteMark(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        assert mark.is_there
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            update(store, 60, 2)
            assert not mark.is_there
            store._parts._watch()
            assert not mark.is_there
        store._parts._watch()
        assert mark.is_there
        asked = store.statistics().tables[0].tiers[2].lookups
        check_rows(store.table("user"), 60, 2)
        assert store.statistics().tables[0].tiers[2].lookups - asked < 30


def test_update_that_readers_cannot_be_told_of_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("read-only file system")

    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            patch.setattr(Path, "unlink", refuse)
            with pytest.raises(StoreError, match="readers may get rows from before"):
                update(store, 60, 2)
            check_rows(store.table("user"), 60, 2)
        update(store, 60, 3)
        check_rows(store.table("user"), 60, 3)


@pytest.mark.slow
def test_reader_forgets_what_changed_while_it_slept_through_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with reading(tmp_path, 1 << 20) as reader:
            assert reader.sees(0, 1)
            reader.process.send_signal(signal.SIGSTOP)
            with monkeypatch.context() as patch:
                let_lmdb_be_full(patch)
                update(store, 60, 2)
                fill(store, 3)
            store.close()
            with ParameterStore.open(tmp_path) as again:
                assert again.table("user").spec.version == 2
                reader.process.send_signal(signal.SIGCONT)
                assert reader.sees(0, 1, 3)
                again.roll_back("user")
                assert reader.sees(60, 2)
