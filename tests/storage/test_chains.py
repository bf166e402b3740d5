"""A delta chains on a base: its rows over the base's, and neither shows in the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage import catalogue
from sedp.storage.imports.progress import ImportSource
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import Keys, look_up, make_rows, some_keys

SPEC = TableSpec("user", 3, "int32")
KEYS = some_keys(6000)
BASE, CHANGED, ADDED, REMOVED = KEYS[:5000], KEYS[1000:1500], KEYS[5000:], KEYS[2000:2100]
DELTA = np.concatenate([CHANGED, ADDED])


def fill(store: ParameterStore) -> None:
    store.import_table(SPEC, [(BASE, make_rows(SPEC, BASE, 1))])


def chain(store: ParameterStore, keys: Keys, value: int, **options: Any) -> TableSpec:
    return store.import_table(
        SPEC, [(keys, make_rows(SPEC, keys, value))], **{"base": "current", **options}
    )


def expected(*layers: tuple[Keys, int]) -> dict[int, int]:
    """By key, of which version its row is."""
    return {int(key): value for keys, value in layers for key in keys}


def holds(store: ParameterStore, version: int | None, row_of: dict[int, int]) -> None:
    for _ in range(2):  # the second time from other tiers
        rows, missing = look_up(store.table("user", version), KEYS)
        assert missing.tolist() == [int(key) not in row_of for key in KEYS]
        wanted = [row_of.get(int(key), 0) for key in KEYS]
        for value in {*wanted} - {0}:
            at = np.flatnonzero(np.array(wanted) == value)
            assert (rows[at] == make_rows(SPEC, KEYS[at], value)).all()
        assert (rows[missing] == 0).all()
        store.settle()


ONE = expected((BASE, 1))
TWO = {k: v for k, v in expected((BASE, 1), (DELTA, 2)).items() if k not in {*REMOVED.tolist()}}


@pytest.fixture(params=[0, 1 << 20])
def chained(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Version 2 on version 1; answered from RAM, or from below."""
    with ParameterStore.open(tmp_path / "s", ram_bytes=request.param, create=True) as store:
        fill(store)
        chain(store, DELTA, 2, removed=REMOVED)
        yield store


def test_a_chained_version_has_its_rows_over_those_of_its_base(chained: ParameterStore) -> None:
    holds(chained, None, TWO)
    holds(chained, 2, TWO)
    holds(chained, 1, ONE)
    assert chained.chain("user") == (1,)
    assert chained.statistics().tables[0].rows == len(TWO)
    assert chained.verify().is_sound
    chained.roll_back("user")
    holds(chained, None, ONE)
    assert chained.chain("user") == ()


def test_a_delta_is_asked_of_the_version_that_it_names(chained: ParameterStore) -> None:
    chain(chained, CHANGED, 3, base=1)
    assert chained.versions("user") == (2, 3)  # 1 is there for 3 alone
    holds(chained, None, expected((BASE, 1), (CHANGED, 3)))
    holds(chained, 2, TWO)
    assert chained.chain("user") == (1,)
    with pytest.raises(
        StoreError, match="'user' has no version 1 to chain on; versions kept: 2, 3"
    ):
        chain(chained, CHANGED, 4, base=1)


def test_a_row_that_is_both_given_and_removed_stays(chained: ParameterStore) -> None:
    chain(chained, CHANGED, 3, removed=KEYS[900:1600])
    gone = {*KEYS[900:1600].tolist()} - {*CHANGED.tolist()}
    rows = {k: v for k, v in TWO.items() if k not in gone}
    holds(chained, None, rows | expected((CHANGED, 3)))
    assert chained.statistics().tables[0].rows == len(rows)
    assert chained.verify().is_sound


def test_updates_show_in_the_version_they_were_made_in_alone(chained: ParameterStore) -> None:
    some = np.concatenate([KEYS[900:1100], REMOVED[:50], ADDED[:50]])
    chained.update("user", some, make_rows(SPEC, some, 5))
    holds(chained, None, TWO | expected((some, 5)))
    holds(chained, 1, ONE)
    chained.roll_back("user", 1)
    more = np.concatenate([KEYS[800:1200], REMOVED, ADDED[:100]])
    chained.update("user", more, make_rows(SPEC, more, 6))
    chained.update("user", more[:9], make_rows(SPEC, more[:9], 7))
    holds(chained, None, ONE | expected((more, 6), (more[:9], 7)))
    holds(chained, 2, TWO | expected((some, 5)))
    chained.roll_back("user", 2)
    holds(chained, None, TWO | expected((some, 5)))
    assert chained.verify().is_sound


def test_updates_of_a_base_spare_a_version_between(tmp_path: Path) -> None:
    """3 on 2 on 1, and 2 is a version no more."""
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        chain(store, DELTA, 2)
        store.roll_back("user", 1)
        chain(store, CHANGED[:100], 3, base=2)
        three = expected((BASE, 1), (DELTA, 2), (CHANGED[:100], 3))
        assert (store.versions("user"), store.chain("user")) == ((1, 3), (2, 1))
        store.roll_back("user", 1)
        store.update("user", KEYS, make_rows(SPEC, KEYS, 6))
        holds(store, 3, three)
        holds(store, 1, expected((KEYS, 6)))
        assert store.verify().is_sound


def test_chains_survive_a_loss_of_lmdb_a_backup_and_a_restart(tmp_path: Path) -> None:
    path, backup = tmp_path / "s", tmp_path / "backup"
    with ParameterStore.open(path, create=True) as store:
        fill(store)
        chain(store, DELTA, 2, removed=REMOVED)
        store.back_up(backup)
    for file in (path / "lmdb").iterdir():
        file.unlink()
    for folder in (path, backup):
        for read_only in (False, True):
            with ParameterStore.open(folder, read_only=read_only, ram_bytes=0) as store:
                holds(store, None, TWO)
                holds(store, 1, ONE)
                assert store.chain("user") == (1,)


def test_who_follows_sees_a_chained_version_and_the_base(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with ParameterStore.open(tmp_path, read_only=True, ram_bytes=0) as follower:
            holds(follower, None, ONE)
            chain(store, DELTA, 2, removed=REMOVED)
            follower.refresh()
            holds(follower, None, TWO)
            holds(follower, 1, ONE)
            store.settle()
            store.roll_back("user")
            store.update("user", KEYS, make_rows(SPEC, KEYS, 6))
            follower.refresh()
            holds(follower, None, expected((KEYS, 6)))
            holds(follower, 2, TWO)


def test_bases_go_with_the_last_version_over_them(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        for value in (2, 3, 4):
            chain(store, CHANGED[:value], value)
        store.settle()
        truth, warm = store._parts.truth, store._parts.warm
        assert warm is not None
        assert store.versions("user") == (3, 4)
        assert (len(truth.names), len(warm.names())) == (4, 2)
        fill(store)
        assert (len(truth.names), len(warm.names())) == (5, 2)
        fill(store)
        assert (len(truth.names), len(warm.names())) == (2, 2)


def test_a_chain_has_an_end_and_is_made_whole_by_an_import_onto_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "CHAIN_MAX", 2)
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        chain(store, DELTA, 2)
        chain(store, CHANGED, 3, removed=REMOVED)
        with pytest.raises(StoreError, match=r"chains on 2 others.*limit; .* --onto-current"):
            chain(store, CHANGED, 4)
        assert store.table("user").spec.version == 3
        store.import_table(SPEC, [(ADDED, make_rows(SPEC, ADDED, 4))], onto_current=True)
        assert store.chain("user") == ()
        chain(store, CHANGED[:7], 5)
        rows = expected((BASE, 1), (DELTA, 2), (CHANGED, 3), (ADDED, 4), (CHANGED[:7], 5))
        holds(store, None, {k: v for k, v in rows.items() if k not in {*REMOVED.tolist()}})
        assert store.verify().is_sound


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": 7}, "no version 7 to chain on; versions kept: 1"),
        ({"onto_current": True}, "give one of them"),
        ({"base": None, "removed": REMOVED}, "say from which with base"),
        ({"removed": REMOVED.view(np.int64)}, r"removed keys are int64\[100\]; .* uint64\[n\]"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with pytest.raises(StoreError, match=message):
            chain(store, CHANGED, 2, **options)
        other = TableSpec("user", 3, "int32", default=(1, 1, 1))
        with pytest.raises(StoreError, match="import onto table 'user': it is"):
            store.import_table(other, [], base="current")
        with pytest.raises(StoreError, match="there is no table 'users'; did you mean 'user'"):
            store.import_table(TableSpec("users", 3, "int32"), [], base="current")
        holds(store, None, ONE)


def test_a_delta_that_is_cut_off_leaves_nothing_and_goes_on(tmp_path: Path) -> None:
    def chunks_from(row: int) -> Any:
        assert row == 0  # it is short of a run
        yield CHANGED, make_rows(SPEC, CHANGED, 2)
        if is_cut:
            raise KeyboardInterrupt
        yield ADDED, make_rows(SPEC, ADDED, 2)

    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        is_cut = True
        with pytest.raises(KeyboardInterrupt):
            store.import_table(SPEC, ImportSource("f", chunks_from), base="current")
        assert len(store._parts.truth.names) == 1
        holds(store, None, ONE)
        is_cut = False
        store.import_table(SPEC, ImportSource("f", chunks_from), base="current")
        holds(store, None, expected((BASE, 1), (DELTA, 2)))


def test_a_delta_may_remove_more_rows_than_its_base_was_imported_with(tmp_path: Path) -> None:
    spec = TableSpec("user", 3, "int32", layout="dense")
    first, later = np.arange(10, dtype=np.uint64), np.arange(10, 40, dtype=np.uint64)
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        store.import_table(spec, [(first, make_rows(spec, first))])
        store.update("user", later, make_rows(spec, later))
        nothing = np.empty(0, np.uint64)
        store.import_table(
            spec, [(nothing, make_rows(spec, nothing))], base="current", removed=later[:25]
        )
        store.settle()
        _, missing = look_up(store.table("user"), np.concatenate([first, later]))
        assert missing.tolist() == [False] * 10 + [True] * 25 + [False] * 5
        assert len(store.verify().parts) == 4  # two versions, in both tiers
