"""The budget of RAM moved while tables are served: caches keep their rows, whole tables stay so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sedp.storage.advice.access_log import AccessLog, AccessSample
from sedp.storage.ram.budget import divide
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import Keys

ROWS = 20_000
MIB = 1 << 20
SMALL, LARGE = TableSpec("small", 1, "float32"), TableSpec("large", 16, "float32")
ALL = np.arange(ROWS, dtype=np.uint64)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ParameterStore]:
    """1 MiB of RAM: `small`, of 100 rows, is whole, and `large` has a cache."""
    with ParameterStore.open(tmp_path / "store", create=True, ram_bytes=MIB) as store:
        store.import_table(SMALL, [(ALL[:100], np.ones((100, 1), np.float32))])
        rows = np.repeat(ALL.astype(np.float32)[:, np.newaxis], 16, axis=1)
        store.import_table(LARGE, [(ALL, rows)])
        yield store


def look_up(store: ParameterStore, keys: Keys) -> None:
    """And check what comes."""
    out, missing = np.empty((len(keys), 16), np.float32), np.empty(len(keys), np.bool_)
    assert store.table("large").lookup(keys, out, missing) == 0
    assert (out == keys.astype(np.float32)[:, np.newaxis]).all()


def hits(store: ParameterStore, keys: Keys) -> int:
    before = store.ram.counts().hits
    look_up(store, keys)
    return store.ram.counts().hits - before


def test_cache_keeps_its_rows_through_moves_of_the_budget(store: ParameterStore) -> None:
    hot = ALL[:2000]
    while hits(store, hot) < 2000:  # every other row that LMDB had is offered
        pass
    for ram_bytes in (2 * MIB, MIB, 3 * MIB // 4):
        store.ram.scale(ram_bytes)
        assert store.ram.bytes == store.statistics().ram_bytes_max == ram_bytes
        assert 0.8 * ram_bytes < store.statistics().ram_bytes <= ram_bytes
        assert hits(store, hot) == 2000
    store.ram.scale(MIB, keeps_rows=False)
    assert hits(store, hot) == 0


def test_whole_tables_stay_whole_whatever_the_budget_is(store: ParameterStore) -> None:
    for ram_bytes in (100 * MIB, 10_000, 0, MIB):
        store.ram.scale(ram_bytes)
        look_up(store, ALL)
        assert [table.resident for table in store.statistics().tables] == [False, True]


def test_new_version_of_a_table_has_its_part_of_the_budget_in_force(store: ParameterStore) -> None:
    store.ram.scale(2 * MIB)
    places = store.ram.counts().places
    store.import_table(LARGE, [(ALL, np.zeros((ROWS, 16), np.float32))])
    assert store.ram.counts().places == places


def test_budget_without_memory_for_a_copy_stays(
    store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up(store, ALL[:2000])
    before = store.ram.counts()

    def refuse(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("sedp.storage.ram.tier.Carrying", refuse)
        with pytest.raises(MemoryError):
            store.ram.scale(2 * MIB)
    assert store.ram.bytes == MIB
    assert store.ram.counts() == before
    look_up(store, ALL[:2000])


def sample(keys: Keys, table: str = "large") -> AccessSample:
    log = AccessLog(table, ROWS, 64)
    for start in range(0, len(keys), 500):
        log.record(keys[start : start + 500])
    return log.snapshot()


def test_ratios_are_those_of_what_came_since_the_last_call(store: ParameterStore) -> None:
    rng = np.random.default_rng(1)
    narrow, wide = rng.choice(ALL[:3000], 60_000), rng.choice(ALL, 60_000)
    budgets = [MIB // 2, 2 * MIB]
    first = store.ram.ratios([sample(narrow)], budgets)
    assert first is not None
    assert min(first) > 0.95
    second = store.ram.ratios([sample(np.concatenate([narrow, wide]))], budgets)
    assert second is not None
    assert second[0] < 0.35 < 0.7 < second[1]
    assert store.ram.ratios([sample(np.concatenate([narrow, wide]))], budgets) is None
    assert store.ram.ratios([sample(narrow[:100], "small")], budgets) is None


def test_counts_are_those_of_tables_in_part_only(store: ParameterStore) -> None:
    look_up(store, ALL[:10])
    out, missing = np.empty((10, 1), np.float32), np.empty(10, np.bool_)
    store.table("small").lookup(ALL[:10], out, missing)
    counts = store.ram.counts()
    assert (counts.lookups, counts.hits) == (10, 0)
    assert counts.below_ns > 0


def test_extra_bytes_go_to_caches_and_never_beyond_what_they_need() -> None:
    tables = [(100, 4), (ROWS, 64)]
    usual, more, all_of_it = (divide(MIB, tables, extra_bytes=n) for n in (0, MIB, 1 << 40))
    assert usual[0] == more[0] == all_of_it[0]
    assert more[1].row_sets == pytest.approx(2 * usual[1].row_sets, rel=0.01)
    assert not all_of_it[1].is_whole
    assert all_of_it[1].row_sets * 7 < 2.1 * ROWS
