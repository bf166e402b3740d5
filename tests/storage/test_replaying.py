"""Updates that are made while a version is copied into the next one are in that one, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sedp.storage.store import ParameterStore
from sedp.storage.updates import replaying
from sedp.storage.updates.replaying import Journal, Replay
from tests.storage.tables import Keys, keys_of, look_up
from tests.storage.updated import KEYS, SPEC, fill, rows_of

DELTA, UPDATED = KEYS[:50], KEYS[100:140]


def check(store: ParameterStore, keys: Keys, version: int) -> None:
    """They have the rows of that version."""
    assert (look_up(store.table("user"), keys)[0] == rows_of(keys, version)).all()


def test_rows_updated_during_an_import_onto_the_current_version_stay_so(tmp_path: Path) -> None:
    fresh = keys_of(1, 2, 3)
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)

        def chunks() -> Iterator[tuple[Keys, Any]]:
            store.update("user", DELTA[:5], rows_of(DELTA[:5], 7))  # of the delta, too
            yield DELTA, rows_of(DELTA, 2)
            store.update("user", KEYS[60:70], rows_of(KEYS[60:70], 7))
            store.update("user", fresh, rows_of(fresh, 7))

        store.import_table(SPEC, chunks(), onto_current=True)
        assert store.table("user").spec.version == 2
    for ram_bytes in (0, 1 << 20):
        with ParameterStore.open(tmp_path, ram_bytes=ram_bytes) as store:
            for keys, version in (
                (DELTA[:5], 7),
                (DELTA[5:], 2),
                (KEYS[60:70], 7),
                (fresh, 7),
                (KEYS[70:], 1),
            ):
                check(store, keys, version)
            assert store.verify().is_sound


def test_what_is_updated_at_the_last_moment_is_there(
    store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    catch_up = Replay.catch_up

    def catch_up_and_update(replay: Replay) -> None:
        catch_up(replay)
        store.update("user", UPDATED, rows_of(UPDATED, 8))

    monkeypatch.setattr(Replay, "catch_up", catch_up_and_update)
    store.import_table(SPEC, [(DELTA, rows_of(DELTA, 2))], onto_current=True)
    check(store, UPDATED, 8)


def test_no_update_is_lost_to_imports_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "STEP_KEYS", 16)
    told, is_over = [0], threading.Event()
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)

        def update() -> None:
            while not is_over.is_set():
                number = told[-1] + 1
                store.update("user", UPDATED, rows_of(UPDATED, number), id=f"{number}")
                told.append(number)

        writer = threading.Thread(target=update)
        writer.start()
        try:
            for _ in range(12):
                store.import_table(SPEC, [(DELTA, rows_of(DELTA, 2))], onto_current=True)
                known = told[-1]
                rows = look_up(store.table("user"), UPDATED)[0]
                assert any(
                    (rows == rows_of(UPDATED, number)).all()
                    for number in range(known, told[-1] + 2)
                ), f"{known} was told"
        finally:
            is_over.set()
            writer.join()
        check(store, UPDATED, told[-1])


def test_journal_holds_each_key_of_its_version_once() -> None:
    journal = Journal("user@1")
    for _ in range(1000):
        journal.note("user@1", keys_of(3, 1))
        journal.note("item@1", keys_of(9))
    assert sum(map(len, journal._parts)) <= 2 * replaying._JOIN_PARTS
    assert journal.take().tolist() == [1, 3]
    assert journal.take().tolist() == []
