"""When shared rows cannot be had, or come and go: who follows goes on, and is told why."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.ram.tier import RamTier
from sedp.storage.store import ParameterStore
from sedp.storage.tables.version import TRIES, TableVersion
from sedp.storage.updates.following import Follower
from tests.storage.processes import ROOT
from tests.storage.shared_memory import memory
from tests.storage.shared_reader import KEYS, RAM_BYTES, SPEC, rows_of
from tests.storage.tables import look_up, some_keys

WRITER = """
import sys
from pathlib import Path
from tests.storage.test_shared_rows import KEYS, ParameterStore, fill, rows_of
with ParameterStore.open(Path(sys.argv[1]), ram_bytes=0) as store:
    fill(store, 2)
    store.update("user", KEYS[:1], rows_of(KEYS[:1], 2))
"""


def fill(store: ParameterStore, version: int) -> None:
    store.import_table(SPEC, [(KEYS, rows_of(KEYS, version))])


def waits_until(store: ParameterStore, is_so: Callable[[], bool]) -> None:
    """Looks until then; the time limit of tests ends it otherwise."""
    while not is_so():
        store.refresh()


def is_resident(store: ParameterStore) -> bool:
    return store.statistics().tables[0].resident


def seen(store: ParameterStore) -> set[int]:
    return set(look_up(store.table("user"), KEYS)[0].ravel().tolist())


def test_reader_that_cannot_map_shared_rows_follows_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(shared: SharedRam, seed: int) -> None:
        raise StoreError("64 bytes of shared RAM cannot be mapped")

    with memory() as fd:
        shared = SharedRam.own(fd, 1)
        with ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, create=True, shared_ram=shared
        ) as store:
            fill(store, 1)
            monkeypatch.setattr(SharedRam, "find", refuse)
            with ParameterStore.open(
                tmp_path, ram_bytes=RAM_BYTES, read_only=True, shared_ram=SharedRam.follow(fd, 1)
            ) as reader:
                store.update("user", KEYS, rows_of(KEYS, 2))
                waits_until(reader, lambda: seen(reader) == {2})
                assert not is_resident(reader)
                assert caplog.text.count("'user' is read in LMDB: 64 bytes of shared RAM") == 1
                monkeypatch.undo()
                waits_until(reader, lambda: is_resident(reader))
                assert seen(reader) == {2}


def test_look_up_ends_although_shared_rows_come_back_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its owner was killed at a row of an update that nobody else knows of."""
    with memory() as fd:
        shared = SharedRam.own(fd, 1)
        with ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, create=True, shared_ram=shared
        ) as store:
            fill(store, 1)
            with ParameterStore.open(
                tmp_path, ram_bytes=RAM_BYTES, read_only=True, shared_ram=SharedRam.follow(fd, 1)
            ) as reader:
                waits_until(reader, lambda: is_resident(reader))
                version = store._parts.versions.current("user")
                version._ram._state.lines[:, 7] += np.uint64(1 << 8)  # being written, for ever
                asked, look_below = [0], TableVersion._look_below

                def count(*args: object) -> int:
                    asked[0] += 1
                    reader.refresh()
                    return look_below(*args)  # type: ignore[arg-type]

                monkeypatch.setattr(TableVersion, "_look_below", count)
                assert seen(reader) == {1}
                assert asked[0] == TRIES
                assert not is_resident(reader)
                reader.refresh()
                assert is_resident(reader)


def test_rows_that_updates_added_beyond_the_room_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = some_keys(500, seed=7)
    with (
        memory() as fd,
        ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, create=True, shared_ram=SharedRam.own(fd, 1)
        ) as store,
    ):
        fill(store, 1)
        store.update("user", more, rows_of(more, 2))
        assert "'user' version 1: updates have added more rows than its RAM" in caplog.text
        assert (look_up(store.table("user"), more)[0] == 2).all()


def test_store_is_closed_before_a_table_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store, 1)
    closing, put_many = threading.Event(), RamTier.put_many

    def put(tier: RamTier, *args: object) -> None:
        closing.set()
        while not store._parts.mover.is_closing:
            pass
        put_many(tier, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(RamTier, "put_many", put)
    with memory() as fd:
        store = ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, read_only=True, shared_ram=SharedRam.own(fd, 1)
        )
        closing.wait()
        with caplog.at_level(logging.WARNING):
            store.close()
        assert not caplog.text
        store.refresh()  # as a look-up does that is under way: nothing is touched any more


def test_catalogue_that_could_not_be_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(follower: Follower) -> None:
        raise StoreError("not read")

    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store, 1)
    with ParameterStore.open(tmp_path, ram_bytes=0, read_only=True) as reader:
        follower = reader._parts._follower
        assert follower is not None
        with monkeypatch.context() as patch:
            patch.setattr(Follower, "_adopt_catalogue", fail)
            subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, check=True)
            while follower.epoch_seen < 1:
                with suppress(StoreError):
                    reader.refresh()
        waits_until(reader, lambda: seen(reader) == {2})


def test_lmdb_that_a_writer_made_anew_knows_how_new_it_is(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store, 1)
        store.update("user", KEYS, rows_of(KEYS, 2))
        (tmp_path / "lmdb" / "data.mdb").unlink()
        warm = store._parts.warm
        assert warm is not None
        waits_until(store, lambda: warm.epoch() == 1)
        assert seen(store) == {2}
