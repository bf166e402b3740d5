"""The store's port: defaults, versions, errors that say the mend, counts, and the RAM bound."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import keys_of, look_up, make_rows, some_keys

USER = TableSpec("user", 3, "int32", default=(7, 8, 9))
AD = TableSpec("ad", 17, "float32")
KEYS = some_keys(2000)


def fill(store: ParameterStore, spec: TableSpec, version: int = 1) -> TableSpec:
    return store.import_table(spec, [(KEYS, make_rows(spec, KEYS, version))])


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("dim", [1, 2, 17])
def test_rows_come_back_in_every_dtype(tight_store: ParameterStore, dim: int, dtype: str) -> None:
    spec = fill(tight_store, TableSpec("t", dim, dtype))
    for _ in range(2):  # from LMDB, then some from RAM
        rows, missing = look_up(tight_store.table("t"), KEYS)
        assert not missing.any()
        assert (rows == make_rows(spec, KEYS)).all()


def test_unknown_key_gets_default_row(tight_store: ParameterStore) -> None:
    fill(tight_store, USER)
    unknown = some_keys(50, seed=5)
    keys = np.concatenate([unknown, KEYS[:50], unknown])
    for _ in range(2):  # from RocksDB, then from what RAM knows to be absent
        rows, missing = look_up(tight_store.table("user"), keys)
        assert missing.tolist() == [True] * 50 + [False] * 50 + [True] * 50
        assert (rows[missing] == (7, 8, 9)).all()
        assert (rows[50:100] == make_rows(USER, KEYS[:50])).all()


def test_default_is_zeros_unless_given(store: ParameterStore) -> None:
    fill(store, AD)
    assert not look_up(store.table("ad"), keys_of(12345))[0].any()


def test_no_keys_and_no_rows_are_fine(store: ParameterStore) -> None:
    store.import_table(USER, [])
    assert look_up(store.table("user"), keys_of())[0].shape == (0, 3)
    assert look_up(store.table("user"), keys_of(1))[1].all()


def test_last_row_of_a_repeated_key_counts(store: ParameterStore) -> None:
    spec = TableSpec("t", 1, "int64")
    chunks = [
        (keys_of(5, 3, 5), np.array([[1], [2], [3]])),
        (keys_of(3, 9), np.array([[4], [5]])),
    ]
    store.import_table(spec, chunks)
    assert look_up(store.table("t"), keys_of(3, 5, 9))[0].ravel().tolist() == [4, 3, 5]
    assert store.statistics().tables[0].rows == 3


def test_slices_of_larger_arrays_are_taken(store: ParameterStore) -> None:
    keys, rows = np.arange(12, dtype=np.uint64), np.arange(72, dtype=np.int32).reshape(12, 6)
    store.import_table(USER, [(keys[::2], rows[::2, ::2])])
    store.submit_update("user", keys[1::4], rows[1::4, ::2], durability="sync").result()
    store.import_table(USER, [(keys[:1], rows[:1, ::2])], base="current", removed=keys[::6])
    held, missing = look_up(store.table("user"), keys)
    assert np.flatnonzero(~missing).tolist() == [0, 1, 2, 4, 5, 8, 9, 10]
    assert (held[~missing] == rows[~missing, ::2]).all()


def test_path_may_be_text(tmp_path: Path) -> None:
    with ParameterStore.open(str(tmp_path / "new"), create=True) as store:
        assert not store.tables()


def test_import_makes_the_next_version_current_and_keeps_the_one_before(
    store: ParameterStore,
) -> None:
    fill(store, USER, 1)
    followed, pinned = store.table("user"), store.table("user", 1)
    assert fill(store, USER, 2).version == 2
    assert store.versions("user") == (1, 2)
    for table, version in ((followed, 2), (store.table("user"), 2), (pinned, 1)):
        assert (look_up(table, KEYS)[0] == make_rows(USER, KEYS, version)).all()


def test_third_import_drops_the_first_version_in_both_tiers(store: ParameterStore) -> None:
    fill(store, USER, 1)
    held = store.table("user", 1)
    for version in (2, 3):
        fill(store, USER, version)
    assert store.versions("user") == (2, 3)
    with pytest.raises(StoreError, match="version 1 was dropped; take the current one"):
        look_up(held, KEYS)
    assert [(part.version, part.tier) for part in store.verify().parts] == [
        (2, "rocksdb"),
        (2, "lmdb"),
        (3, "rocksdb"),
        (3, "lmdb"),
    ]


def test_version_may_change_shape_and_default(store: ParameterStore) -> None:
    fill(store, USER)
    wide = TableSpec("user", 5, "float32", default=(0.5,) * 5, columns=tuple("abcde"))
    assert fill(store, wide).columns == tuple("abcde")
    rows, missing = look_up(store.table("user"), np.append(KEYS, keys_of(1)))
    assert (rows[:-1] == make_rows(wide, KEYS)).all()
    assert rows[-1].tolist() == [0.5] * 5
    assert missing.tolist() == [False] * len(KEYS) + [True]


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store, USER, 1)
        spec = fill(store, USER, 2)
        fill(store, AD)
    with ParameterStore.open(tmp_path) as store:
        assert store.tables() == (store.table("ad").spec, spec)
        for version in (1, 2):
            rows, _ = look_up(store.table("user", version), KEYS)
            assert (rows == make_rows(USER, KEYS, version)).all()


def test_deleted_warm_tier_is_rebuilt(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store, USER)
    shutil.rmtree(tmp_path / "lmdb")
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        for _ in range(2):  # while it is being rebuilt, then from it
            assert (look_up(store.table("user"), KEYS)[0] == make_rows(USER, KEYS)).all()
            store.settle()
        lmdb = store.statistics().tables[0].tiers[1]
        assert (lmdb.tier, lmdb.rows) == ("lmdb", len(KEYS))
        assert lmdb.hits in (len(KEYS), 2 * len(KEYS))


def test_warm_tier_of_another_store_is_not_believed(tmp_path: Path) -> None:
    for folder, version in (("one", 1), ("two", 2)):
        with ParameterStore.open(tmp_path / folder, create=True) as store:
            fill(store, USER, version)
    shutil.rmtree(tmp_path / "two" / "lmdb")
    shutil.copytree(tmp_path / "one" / "lmdb", tmp_path / "two" / "lmdb")
    with ParameterStore.open(tmp_path / "two") as store:
        assert (look_up(store.table("user"), KEYS)[0] == make_rows(USER, KEYS, 2)).all()


def test_statistics_count_every_tier(tight_store: ParameterStore) -> None:
    fill(tight_store, USER)
    unknown = some_keys(10, seed=5)
    for _ in range(3):
        look_up(tight_store.table("user"), np.concatenate([KEYS[:90], unknown]))
    table = tight_store.statistics().tables[0]
    assert (table.rows, table.lookups, table.defaults) == (len(KEYS), 300, 30)
    ram, lmdb, rocksdb, absent = table.tiers
    assert [tier.tier for tier in table.tiers] == ["ram", "lmdb", "rocksdb", "absent"]
    assert ram.lookups == 300
    assert lmdb.lookups == 300 - ram.hits
    assert absent.lookups == lmdb.lookups - lmdb.hits == 30
    assert rocksdb.lookups == absent.lookups - absent.hits == 10
    assert ram.hits + lmdb.hits == 3 * 90
    assert (ram.hits > 0, rocksdb.hits, lmdb.corrupt) == (True, 0, 0)
    assert [tier.batches for tier in table.tiers] == [3, 3, 1, 3]
    assert [tier.whole_batches for tier in table.tiers] == [0, 0, 0, 2]


def test_requests_that_a_tier_answered_alone_are_counted(tight_store: ParameterStore) -> None:
    fill(tight_store, USER)
    table, batches = tight_store.table("user"), 12
    for _ in range(batches):
        look_up(table, KEYS[:4])
    ram, lmdb, *_ = tight_store.statistics().tables[0].tiers
    assert 0 < ram.whole_batches < ram.batches == batches
    assert lmdb.batches == lmdb.whole_batches == batches - ram.whole_batches


def test_ram_stays_within_its_bytes(tmp_path: Path) -> None:
    budget = 300_000
    tracemalloc.start()
    with ParameterStore.open(tmp_path, ram_bytes=budget, create=True) as store:
        fill(store, USER)
        first = store.table("user")
        look_up(first, KEYS)
        fill(store, AD)
        fill(store, USER)
        for name in ("user", "ad"):
            look_up(store.table(name), KEYS)
        statistics = store.statistics()
        snapshot = tracemalloc.take_snapshot()
        tracemalloc.stop()
    arrays = tracemalloc.Filter(True, "*/ram/state.py", domain=np.lib.tracemalloc_domain)
    caches = snapshot.filter_traces([arrays])
    traced = sum(trace.size for trace in caches.traces)
    assert 0.9 * budget < statistics.ram_bytes <= traced <= budget
    rows = {table.spec.name: table.tiers[0].rows for table in statistics.tables}
    assert 0 < rows["ad"] < rows["user"] == len(KEYS)
    assert [table.resident for table in statistics.tables] == [False, True]


def test_unknown_table_names_the_nearest(store: ParameterStore) -> None:
    with pytest.raises(StoreError, match="the store is empty; import one"):
        store.table("user")
    fill(store, USER)
    with pytest.raises(StoreError, match="no table 'usr'; did you mean 'user'"):
        store.table("usr")
    with pytest.raises(StoreError, match="no version 5; it has 1"):
        store.table("user", 5)


def test_missing_store_is_not_made_unasked(tmp_path: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(StoreError, match="does not exist; create it with `sedp store import"):
            ParameterStore.open(tmp_path / "none", read_only=read_only)
    assert not (tmp_path / "none").exists()


def test_negative_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="ram_bytes -1 must be ≥ 0"):
        ParameterStore.open(tmp_path, ram_bytes=-1, create=True)


def test_second_writer_in_the_process_is_told(store: ParameterStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"open for writing already.*read_only=True"):
        ParameterStore.open(tmp_path / "store")


def test_reader_in_the_process_of_the_writer_does_without_lmdb(
    store: ParameterStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(store, USER)
    with ParameterStore.open(tmp_path / "store", read_only=True) as reader:
        assert "one process may open a store once" in caplog.text
        assert (look_up(reader.table("user"), KEYS)[0] == make_rows(USER, KEYS)).all()
    assert (look_up(store.table("user"), KEYS)[0] == make_rows(USER, KEYS)).all()


def test_closed_store_refuses_look_ups(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store, USER)
        table = store.table("user")
    with pytest.raises(StoreError, match="is closed; open it again"):
        look_up(table, KEYS)


def test_chunk_that_does_not_fit_leaves_the_version_before(store: ParameterStore) -> None:
    fill(store, USER)
    rows = make_rows(USER, KEYS)
    for chunk, words in (
        ((KEYS.astype(np.int64), rows), "keys are int64\\[2000\\]; they must be uint64"),
        ((KEYS, rows[:, :2]), "rows are int32\\[2000, 2\\]; with 2000 keys they must be int32"),
        ((KEYS, rows.astype(np.float32)), "rows are float32"),
    ):
        with pytest.raises(StoreError, match=words):
            store.import_table(USER, [(KEYS, rows), chunk])  # type: ignore[list-item]
    assert store.versions("user") == (1,)
    assert [part.version for part in store.verify().parts] == [1, 1]
    assert fill(store, USER, 2).version == 2


def test_source_that_breaks_off_leaves_the_version_before(
    store: ParameterStore, tmp_path: Path
) -> None:
    fill(store, USER)

    def chunks() -> Iterator[tuple[NDArray[np.uint64], NDArray[Any]]]:
        yield KEYS, make_rows(USER, KEYS, 2)
        raise OSError("link is down")

    with pytest.raises(StoreError, match="import of 'user' failed: link is down"):
        store.import_table(USER, chunks())
    assert (look_up(store.table("user"), KEYS)[0] == make_rows(USER, KEYS)).all()
    assert store.versions("user") == (1,)
    assert not (tmp_path / "store" / "import").exists()


@pytest.mark.parametrize("name", ["keys", "out", "missing"])
def test_arrays_of_another_form_are_refused(store: ParameterStore, name: str) -> None:
    fill(store, USER)
    keys, out, missing = KEYS[:4].copy(), np.empty((4, 3), np.int32), np.empty(4, np.bool_)
    arrays: dict[str, Any] = {"keys": keys, "out": out, "missing": missing}
    for broken in (arrays[name].astype(np.int16), np.repeat(arrays[name], 2, axis=0)[::2]):
        with pytest.raises(ValueError, match=f"table 'user': {name} is .* it must be"):
            store.table("user").lookup(**{**arrays, name: broken})
    arrays[name].flags.writeable = False
    if name == "keys":
        assert store.table("user").lookup(keys, out, missing) == 0
    else:
        with pytest.raises(ValueError, match=f"{name} is unaligned or read-only"):
            store.table("user").lookup(keys, out, missing)
