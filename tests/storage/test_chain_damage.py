"""Damage in a chain of versions is an error, and never shows a row of the base instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.errors import CorruptionError
from sedp.storage.rows.bucket import places_of
from sedp.storage.store import ParameterStore
from tests.storage.tables import keys_of, look_up, make_rows
from tests.storage.test_chains import BASE, CHANGED, DELTA, REMOVED, SPEC, chain, fill


@pytest.fixture
def cold(tmp_path: Path) -> Any:
    """Version 2 on version 1, answered from RocksDB alone; nothing is made in LMDB."""
    with ParameterStore.open(tmp_path / "s", ram_bytes=0, create=True) as store:
        fill(store)
        chain(store, DELTA, 2, removed=REMOVED)
        store.settle()
        for version in store._parts.versions.all():
            version.bypass_warm(True)
        yield store


def harm(store: ParameterStore, link: int, key: np.uint64, record: bytes) -> None:
    """Put something else in the place of a record of the current version, or one below it."""
    entry = store._parts.versions.current("user").entry.chain[link]
    data = np.frombuffer(record, np.uint8)[np.newaxis]
    places = places_of(keys_of(int(key)), SPEC.layout)
    store._parts.truth.write_rows([(entry.name, places, data)], sync=False)


@pytest.mark.parametrize("record", [bytes(20), bytes(8), bytes(13)])
@pytest.mark.parametrize("key", [CHANGED[0], REMOVED[0]])
def test_damage_over_the_base_never_shows_what_is_below(
    cold: ParameterStore, key: np.uint64, record: bytes
) -> None:
    harm(cold, 0, key, record)
    with pytest.raises(CorruptionError, match="1 of 1 rows asked of RocksDB do not match"):
        look_up(cold.table("user"), keys_of(int(key)))
    assert not cold.verify().is_sound
    with pytest.raises(CorruptionError, match="rows of the version below are damaged"):
        cold.import_table(SPEC, [], onto_current=True)
    with pytest.raises(CorruptionError, match="rows asked of RocksDB do not match"):
        chain(cold, BASE, 3)
    chain(cold, BASE, 3, base=1)  # beside the damage
    assert look_up(cold.table("user"), keys_of(int(key)))[0].any()


def test_damage_of_the_base_counts_only_where_nothing_is_over_it(cold: ParameterStore) -> None:
    for key in (CHANGED[0], REMOVED[0], BASE[0]):
        harm(cold, 1, key, bytes(20))
    asked = keys_of(int(CHANGED[0]), int(REMOVED[0]))
    rows, missing = look_up(cold.table("user"), asked)
    assert (rows[0] == make_rows(SPEC, asked[:1], 2)[0]).all()
    assert missing.tolist() == [False, True]
    with pytest.raises(CorruptionError, match="1 of 1 rows asked"):
        look_up(cold.table("user"), BASE[:1])
    with pytest.raises(CorruptionError, match="1 of 5000 rows asked"):
        look_up(cold.table("user"), BASE)


def test_a_delta_that_ends_early_is_not_taken_for_the_base(
    cold: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan of RocksDB ends at a damaged block without a word."""
    truth, name = cold._parts.truth, cold._parts.versions.current("user").entry.name
    scan = truth.scan

    def cut_short(asked: str, start: bytes | None = None) -> Any:
        pairs = [*scan(asked, start)]
        return iter(pairs[:-1] if asked == name else pairs)

    monkeypatch.setattr(truth, "scan", cut_short)
    report = cold.verify()
    parts = {(part.version, part.tier): part for part in report.parts}
    assert (parts[2, "rocksdb"].rows, parts[2, "rocksdb"].corrupt) == (1, 1)
    assert parts[1, "rocksdb"].is_sound
