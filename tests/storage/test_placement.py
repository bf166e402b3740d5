"""Placement: what is asked for moves up, what is not makes room, and old rows never overtake."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.storage.placement import mover as placement
from sedp.storage.placement.mover import Heat, Mover
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import Keys, look_up, make_rows, some_keys

SPEC = TableSpec("user", 16, "int32")
KEYS = some_keys(4000)


def open_partial(path: Path) -> ParameterStore:
    store = ParameterStore.open(path, ram_bytes=0, lmdb_bytes=1 << 15, create=True)
    if not store.tables():
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
    return store


def look_often(store: ParameterStore, keys: Keys, times: int = 6, version: int = 1) -> None:
    for _ in range(times):
        rows, missing = look_up(store.table("user"), keys)
        assert not missing.any()
        assert (rows == make_rows(SPEC, keys, version)).all()
        store.settle()


def truth_hits(store: ParameterStore) -> int:
    return store.statistics().tables[0].tiers[2].hits


def test_hot_rows_move_into_lmdb_and_stay_while_cold_ones_pass(tmp_path: Path) -> None:
    hot, cold = KEYS[:100], KEYS[100:]
    with open_partial(tmp_path) as store:
        for at in range(0, 3000, 100):
            look_often(store, hot, 2)
            look_often(store, cold[at : at + 100], 1)
        before = truth_hits(store)
        look_often(store, hot, 5)
        assert truth_hits(store) - before < 0.1 * 5 * len(hot)
        moves = store.statistics().moves
        assert moves.promoted > 80
        assert (moves.failed, moves.dropped) == (0, 0)
        lmdb = store.statistics().tables[0].tiers[1]
        assert lmdb.bytes <= 1 << 15
        assert 0 < lmdb.rows < 1000
        assert store.verify().is_sound


def test_another_working_set_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first, second = KEYS[:250], KEYS[250:500]
    with open_partial(tmp_path) as store:
        look_often(store, first, 6)
        look_often(store, second, 40)
        before = truth_hits(store)
        look_often(store, second, 5)
        assert truth_hits(store) - before < 0.3 * 5 * len(second)
        assert store.statistics().moves.demoted > 50


def test_updates_reach_rows_wherever_they_are(tmp_path: Path) -> None:
    with open_partial(tmp_path) as store:
        look_often(store, KEYS[:300], 4)
        for version in (2, 3):
            store.update("user", KEYS[:600], make_rows(SPEC, KEYS[:600], version))
            look_often(store, KEYS[:600], 3, version)
            look_often(store, KEYS[600:900], 2)
        assert store.verify().is_sound
    with open_partial(tmp_path) as store:
        look_often(store, KEYS[:600], 2, 3)


def test_row_read_before_an_update_is_not_promoted_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion that has read its rows keeps the update waiting until it is committed."""
    read, go_on = threading.Event(), threading.Event()
    read_records = RocksdbTier.read_records

    def read_slowly(tier: RocksdbTier, keys: Keys) -> Any:
        records = read_records(tier, keys)
        if threading.current_thread().name == "sedp-mover":
            read.set()
            assert go_on.wait(10)
        return records

    with open_partial(tmp_path) as store:
        monkeypatch.setattr(RocksdbTier, "read_records", read_slowly)
        version = store._parts.versions.all()[0]
        store._parts.mover.promote(version, KEYS[:50])
        assert read.wait(10)
        receipt = store.submit_update("user", KEYS[:50], make_rows(SPEC, KEYS[:50], 2))
        go_on.set()
        assert receipt.result(10).epoch == 1
        look_often(store, KEYS[:50], 2, 2)


def test_full_queue_drops_and_counts() -> None:
    gate, started = threading.Event(), threading.Event()
    mover = Mover(None, lambda: 0, lambda: None)

    def wait() -> None:
        started.set()
        assert gate.wait(10)

    class Version:
        def fetch(self, keys: Keys) -> None:
            fetched.append(len(keys))

    fetched: list[int] = []
    version: Any = Version()
    mover.run(wait)
    assert started.wait(10)
    for _ in range(placement.QUEUE_TASKS + 3):
        mover.fill(version, KEYS[:2])
    gate.set()
    mover.settle()
    assert len(fetched) == placement.QUEUE_TASKS
    assert mover.statistics().dropped == 6
    assert mover.statistics().filled == 2 * placement.QUEUE_TASKS
    mover.close()


def test_store_may_be_closed_while_its_warm_tier_is_rebuilt(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
    for _ in range(10):
        shutil.rmtree(tmp_path / "lmdb")
        ParameterStore.open(tmp_path).close()
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        store.settle()
        look_often(store, KEYS, 1)
        assert store.verify().is_sound


def test_heat_forgets_nothing_it_is_not_asked_of() -> None:
    assert Heat(0).judge is None
    heat = Heat(1000)
    for _ in range(5):
        heat.note(KEYS[:10])
    assert heat.judge is not None
    counts = heat.judge(KEYS[:20])
    assert (counts[:10] >= 4).all()
    assert np.median(counts[10:]) <= 1


def test_a_task_that_fails_in_no_known_way_does_not_keep_others_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = list[str]()
    with open_partial(tmp_path) as store:
        mover = store._parts.mover
        mover.run(lambda: done.append("first") or 1 // 0)
        mover.run(lambda: done.append("second"))
        store.settle()
    assert done == ["first", "second"]
    assert "ZeroDivisionError" in caplog.text
