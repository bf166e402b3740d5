"""What becomes of keys that only RocksDB has: a wait, a row behind a default, or a default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.miss_policy import MissPolicy, MissRule
from tests.storage.tables import look_up, make_rows, some_keys

SPEC = TableSpec("user", 16, "int32")
KEYS = some_keys(4000)


def open_partial(path: Path, rule: MissRule, ram_bytes: int = 1 << 16) -> ParameterStore:
    """A store whose LMDB has room for a few hundred of the 4,000 rows."""
    misses = {"user": rule}
    store = ParameterStore.open(
        path, ram_bytes=ram_bytes, lmdb_bytes=1 << 15, create=True, misses=misses
    )
    if not store.tables():
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
    return store


def test_waiting_table_never_answers_a_default_for_a_row(tmp_path: Path) -> None:
    with open_partial(tmp_path, MissRule()) as store:
        for _ in range(3):
            rows, missing = look_up(store.table("user"), KEYS)
            assert not missing.any()
            assert (rows == make_rows(SPEC, KEYS)).all()
        misses = store.statistics().tables[0].misses
        assert misses.deferred == 0
        assert misses.waited > 3000


def test_default_table_never_waits_nor_fills(tmp_path: Path) -> None:
    with open_partial(tmp_path, MissRule("default"), ram_bytes=0) as store:
        held = store.statistics().tables[0].tiers[1].rows
        for _ in range(3):
            rows, missing = look_up(store.table("user"), KEYS)
            assert np.count_nonzero(missing) == len(KEYS) - held
            assert (rows[~missing] == make_rows(SPEC, KEYS[~missing])).all()
            assert not rows[missing].any()
            store.settle()
        table = store.statistics().tables[0]
        assert (table.misses.waited, table.misses.deferred) == (0, 3 * (len(KEYS) - held))
        assert table.defaults == table.misses.deferred
        assert table.tiers[2].lookups == 0


def test_filling_table_waits_while_cold_then_answers_and_fills_behind(tmp_path: Path) -> None:
    with open_partial(tmp_path, MissRule("fill", above=0.5)) as store:
        table, hot = store.table("user"), KEYS[:50]
        assert not look_up(table, KEYS[:50])[1].any()  # cold: it waits
        for _ in range(200):  # all hits: it is warm now
            look_up(table, hot)
        assert store.statistics().tables[0].misses.hit_ratio > 0.5
        one = KEYS[3000:3001]
        rows, missing = look_up(table, one)
        assert missing.all()
        assert not rows.any()
        for _ in range(5):
            store.settle()
            rows, missing = look_up(table, one)
        assert not missing.any()
        assert (rows == make_rows(SPEC, one)).all()
        misses = store.statistics().tables[0].misses
        assert misses.deferred >= 1
        assert store.statistics().moves.filled >= 1


def test_batches_that_waited_are_no_hits(tmp_path: Path) -> None:
    """LMDB alone would answer few of them: the table stays cold, and nothing is withheld."""
    with open_partial(tmp_path, MissRule("fill", above=0.4), ram_bytes=0) as store:
        dice = np.random.default_rng(0)
        for _ in range(200):
            _, missing = look_up(store.table("user"), dice.choice(KEYS[2000:], 50))
            assert not missing.any()
        misses = store.statistics().tables[0].misses
        assert (misses.deferred, misses.withheld) == (0, 0)
        assert misses.hit_ratio < 0.4


def test_keys_that_never_had_a_row_do_not_keep_a_table_cold(tmp_path: Path) -> None:
    unknown = some_keys(40, seed=5)
    with open_partial(tmp_path, MissRule("fill", above=0.9)) as store:
        table, asked = store.table("user"), np.concatenate([KEYS[:20], unknown])
        for _ in range(300):
            look_up(table, asked)
        assert store.statistics().tables[0].misses.hit_ratio > 0.9
        _, missing = look_up(table, asked)
        assert np.array_equal(missing, np.isin(asked, unknown))


def test_rows_withheld_by_defaults_are_counted(tmp_path: Path) -> None:
    with open_partial(tmp_path, MissRule("fill", above=0.5)) as store:
        table = store.table("user")
        for _ in range(200):
            look_up(table, KEYS[:50])
        look_up(table, np.concatenate([KEYS[3000:3002], some_keys(3, seed=6)]))
        store.settle()
        misses = store.statistics().tables[0].misses
        assert (misses.deferred, misses.withheld) == (5, 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "never"}, "miss mode 'never' is not one of wait, fill, default"),
        ({"above": 1.5}, "miss threshold 1.5 must be 0..1"),
        ({"above": -0.1}, "must be 0..1"),
        ({"above": np.nan}, "must be 0..1"),
    ],
)
def test_rule_out_of_bounds_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        MissRule(**fields)


def test_hit_ratio_decides_and_is_told() -> None:
    policy = MissPolicy(MissRule("fill", above=0.9))
    assert policy.waits(10, 1)
    while policy.statistics().hit_ratio < 0.9:
        policy.waits(100, 1)
    assert not policy.waits(100, 5)
    before = policy.statistics()
    for _ in range(20):
        policy.waits(100, 100)
    after = policy.statistics()
    assert after.hit_ratio < 0.9 < before.hit_ratio
    assert policy.waits(100, 5)
    assert after.waited > before.waited
