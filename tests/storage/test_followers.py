"""Processes that read follow the writer: updates, publications, promotions, what they missed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sedp.storage import opening
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.update_log import ENTRIES_MAX
from sedp.storage.store import ParameterStore
from sedp.storage.updates import following
from tests.storage.processes import run_python
from tests.storage.reading import KEYS, fill, reading, update
from tests.storage.tables import look_up


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


@pytest.mark.slow
def test_reader_knows_what_was_published_while_it_was_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_warm = opening._open_warm

    def publish_first(path: Path, read_only: bool) -> LmdbDatabase | None:
        code = "from tests.storage.reading import fill\nfill(ParameterStore.open(path), 2)"
        assert run_python(code, tmp_path).returncode == 0
        return open_warm(path, read_only)

    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
    monkeypatch.setattr(opening, "_open_warm", publish_first)
    with ParameterStore.open(tmp_path, read_only=True) as reader:
        reader.refresh()
        assert reader.versions("user") == (1, 2)


def test_follower_looks_less_often_while_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FOLLOW_S", 60.0)
    monkeypatch.setattr(following, "QUIET_S", 600.0)
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with ParameterStore.open(tmp_path, read_only=True) as reader:
            follower = reader._parts._follower
            assert follower is not None
            pauses = [follower.pause_s() for _ in range(2 * following.QUIET_LOOKS)]
            assert pauses == sorted(pauses)
            assert set(pauses) == {60.0, 600.0}
            update(store, 10, 2)
            reader.refresh()
            assert follower.pause_s() == 60.0
