"""Versions: a held table follows the current one, a pinned one stays, updates go to the current."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import look_up, make_rows, some_keys

SPEC = TableSpec("user", 3, "int32")
KEYS = some_keys(2000)


def fill(store: ParameterStore, version: int) -> None:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, version))])


def holds(store: ParameterStore, version: int | None, expected: int) -> bool:
    rows, missing = look_up(store.table("user", version), KEYS)
    return not missing.any() and bool((rows == make_rows(SPEC, KEYS, expected)).all())


def test_rolled_back_version_answers_tables_already_held(store: ParameterStore) -> None:
    for version in (1, 2):
        fill(store, version)
    held = store.table("user")
    assert store.roll_back("user").version == 1
    assert held.spec.version == 1
    assert (look_up(held, KEYS)[0] == make_rows(SPEC, KEYS, 1)).all()
    assert store.tables() == (held.spec,)
    assert store.statistics().tables[0].resident
    assert store.roll_back("user", 2).version == 2
    assert holds(store, None, 2)


def test_publications_tell_of_other_current_versions_alone(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        seen = [store.publications]
        for change in (
            lambda: fill(store, 1),
            lambda: store.update("user", KEYS[:5], make_rows(SPEC, KEYS[:5], 9)),
            lambda: fill(store, 2),
            lambda: store.roll_back("user"),
            store.refresh,
        ):
            change()
            seen.append(store.publications)
    assert [after - before for before, after in pairwise(seen)] == [1, 0, 1, 1, 0]


def test_roll_back_is_remembered_and_the_next_import_keeps_what_was_current(
    tmp_path: Path,
) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        for version in (1, 2):
            fill(store, version)
        store.roll_back("user")
    with ParameterStore.open(tmp_path) as store:
        assert store.table("user").spec.version == 1
        fill(store, 3)
        assert store.versions("user") == (1, 3)
        assert holds(store, None, 3)
        assert holds(store, 1, 1)
        assert store.verify().is_sound


def test_roll_back_to_nowhere_names_what_there_is(store: ParameterStore) -> None:
    with pytest.raises(StoreError, match=r"table 'user' cannot go to version before.*kept: none"):
        store.roll_back("user")
    fill(store, 1)
    with pytest.raises(StoreError, match="cannot go to version before; versions kept: 1"):
        store.roll_back("user")
    with pytest.raises(StoreError, match="cannot go to version 7; versions kept: 1"):
        store.roll_back("user", 7)


def test_updates_change_the_current_version_alone(store: ParameterStore) -> None:
    for version in (1, 2):
        fill(store, version)
    store.update("user", KEYS, make_rows(SPEC, KEYS, 7))
    assert holds(store, None, 7)
    assert holds(store, 1, 1)
    store.roll_back("user")
    store.update("user", KEYS, make_rows(SPEC, KEYS, 8))
    assert holds(store, None, 8)
    assert holds(store, 2, 7)


def test_ram_belongs_to_the_current_version(store: ParameterStore) -> None:
    for version in (1, 2):
        fill(store, version)
    assert holds(store, 1, 1)
    pinned, current = store.table("user", 1).statistics(), store.table("user").statistics()
    assert (pinned.tiers[0].bytes, pinned.resident) == (0, False)
    assert (current.tiers[0].rows, current.resident) == (len(KEYS), True)


def test_backup_is_a_store_of_its_own(store: ParameterStore, tmp_path: Path) -> None:
    fill(store, 1)
    store.update("user", KEYS[:9], make_rows(SPEC, KEYS[:9], 2), durability="none")
    store.update("user", KEYS[:9], make_rows(SPEC, KEYS[:9], 3))
    store.back_up(tmp_path / "backup")
    store.update("user", KEYS, make_rows(SPEC, KEYS, 4))
    fill(store, 5)
    with pytest.raises(StoreError, match="is there already; name a folder that is not"):
        store.back_up(tmp_path / "backup")
    expected = make_rows(SPEC, KEYS, 1)
    expected[:9] = make_rows(SPEC, KEYS[:9], 3)
    for read_only in (True, False, False):
        with ParameterStore.open(tmp_path / "backup", read_only=read_only) as backup:
            backup.settle()
            assert (look_up(backup.table("user"), KEYS)[0] == expected).all()
            assert backup.verify().is_sound
    assert holds(store, None, 5)


@pytest.mark.parametrize("row_format", ["float16", "int8"])
def test_stored_formats_round_the_same_in_every_tier(tmp_path: Path, row_format: str) -> None:
    spec = TableSpec("t", 9, "float32", row_format=row_format)  # type: ignore[arg-type]
    rows = np.random.default_rng(0).normal(size=(len(KEYS), 9)).astype(np.float32)
    expected = np.empty_like(rows)
    spec.decode(spec.encode(rows), expected)
    assert np.abs(expected - rows).max() < 0.05
    for ram_bytes in (0, 1 << 20):
        with ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True) as store:
            if not store.tables():
                store.import_table(spec, [(KEYS, rows)])
            assert (look_up(store.table("t"), KEYS)[0] == expected).all()
            store.update("t", KEYS[:9], rows[9:18])
            assert (look_up(store.table("t"), KEYS[:9])[0] == expected[9:18]).all()
            store.update("t", KEYS[:9], rows[:9])


def test_dense_tables_hold_keys_from_zero_with_gaps(tmp_path: Path) -> None:
    spec = TableSpec("t", 2, "int64", default=(-1, -1), layout="dense")
    keys = np.delete(np.arange(3000, dtype=np.uint64), np.arange(0, 2999, 2))
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        store.import_table(spec, [(keys[::-1].copy(), make_rows(spec, keys[::-1]))])
        with pytest.raises(StoreError, match=r'too far out for a dense table.*layout "hashed"'):
            store.import_table(spec, [(np.uint64([9]), make_rows(spec, np.uint64([9])))])
    for lose_warm in (False, True, False):
        if lose_warm:
            for file in (tmp_path / "lmdb").iterdir():
                file.unlink()
        with ParameterStore.open(tmp_path, ram_bytes=0) as store:
            store.settle()
            asked = np.arange(4000, dtype=np.uint64)
            rows, missing = look_up(store.table("t"), asked)
            assert (missing == ~np.isin(asked, keys)).all()
            assert (rows[~missing] == make_rows(spec, keys)).all()
            assert (rows[missing] == -1).all()
            lmdb = store.statistics().tables[0].tiers[1]
            assert (lmdb.rows, lmdb.hits) == (len(keys), len(keys))
            assert store.verify().is_sound


def test_key_beyond_a_dense_table_may_be_added_by_an_update(tmp_path: Path) -> None:
    spec = TableSpec("t", 2, "int64", layout="dense")
    keys = np.arange(300, dtype=np.uint64)
    far = np.uint64([1 << 40, (1 << 64) - 1, 301])
    for ram_bytes in (1 << 20, 0):
        with ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True) as store:
            if not store.tables():
                store.import_table(spec, [(keys, make_rows(spec, keys))])
                store.update("t", far, make_rows(spec, far))
            for _ in range(2):
                rows, missing = look_up(store.table("t"), np.append(keys, far))
                assert not missing.any()
                assert (rows == make_rows(spec, np.append(keys, far))).all()
                store.settle()
            assert store.verify().is_sound
