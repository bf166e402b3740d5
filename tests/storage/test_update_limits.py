"""Updates that do not fit are refused, many become one group, and the queue has an end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates import updates
from sedp.storage.updates.updates import Durability, Receipt, Update, UpdateWriter
from tests.storage.tables import look_up, make_rows
from tests.storage.updated import KEYS, SPEC, check, fill, rows_of


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"keys": KEYS[:2].astype(np.int64)}, r"keys are int64\[2\]; they must be uint64"),
        ({"keys": KEYS[:0], "rows": rows_of(KEYS[:0], 1)}, r"keys are uint64\[0\].*1 ≤ n ≤ 100000"),
        ({"rows": rows_of(KEYS[:3], 1)}, r"rows are int32\[3, 3\]; with 2 keys"),
        ({"rows": rows_of(KEYS[:2], 1).astype(np.int64)}, "rows are int64"),
        ({"durability": "maybe"}, "durability 'maybe' is not one of none, async, sync"),
        ({"id": "x" * 201}, "id of 201 characters; at most"),
    ],
)
def test_update_that_does_not_fit_is_refused(
    store: ParameterStore, fields: dict[str, Any], words: str
) -> None:
    fill(store)
    with pytest.raises(StoreError, match=words):
        store.update(**{"name": "user", "keys": KEYS[:2], "rows": rows_of(KEYS[:2], 2), **fields})
    check(store, KEYS[:0], 0)


def test_numbers_that_would_spoil_a_model_are_refused(store: ParameterStore) -> None:
    spec = TableSpec("ad", 2, "float32")
    store.import_table(spec, [(KEYS, make_rows(spec, KEYS))])
    for bad in (np.nan, np.inf):
        with pytest.raises(StoreError, match=f"1 of 2 rows, the first of key {KEYS[1]}, hold NaN"):
            store.update("ad", KEYS[:2], np.float32([[1, 2], [3, bad]]))
    with pytest.raises(StoreError, match=f"row of key {KEYS[1]} has norm 5.0, the limit is 4.9"):
        store.update("ad", KEYS[:2], np.float32([[1, 2], [3, 4]]), norm_max=4.9)
    store.update("ad", KEYS[:2], np.float32([[1, 2], [3, 4]]), norm_max=5)
    assert look_up(store.table("ad"), KEYS[:2])[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("own", "table"), [(None, 5.0), (5.0, None), (5.0, 9.0), (9.0, 5.0)])
def test_the_smaller_bound_of_norms_holds_to_the_last_bit(
    tmp_path: Path, own: float | None, table: float | None
) -> None:
    spec = TableSpec("ad", 2, "float32")
    below, above = np.nextafter(np.float32(5), np.float32([0, 9]))
    norms = {} if table is None else {"ad": table}
    with ParameterStore.open(tmp_path, create=True, norms=norms) as store:
        store.import_table(spec, [(KEYS, make_rows(spec, KEYS))])
        for norm in (below, np.float32(5)):
            rows = np.array([[0, norm]], np.float32)
            store.update("ad", KEYS[:1], rows, norm_max=own)
            assert look_up(store.table("ad"), KEYS[:1])[0].tolist() == rows.tolist()
        raised = "norm_max" if own == 5 else "the table's norm_max"
        words = (
            f"update of 'ad': the row of key {KEYS[1]} has norm 5.00000047.*, the limit is 5.0; "
        )
        with pytest.raises(StoreError, match=f"{words}send smaller steps, or raise {raised}$"):
            store.update("ad", KEYS[:2], np.float32([[0, 1], [0, above]]), norm_max=own)
        assert look_up(store.table("ad"), KEYS[:1])[0].tolist() == [[0, 5]]


def test_norms_are_those_of_their_table_alone_and_whole_numbers_have_them(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True, norms={"user": 5, "none": 1}) as store:
        fill(store)
        store.import_table(TableSpec("ad", 3, "int32"), [(KEYS, rows_of(KEYS, 1))])
        store.update("ad", KEYS[:1], np.array([[3, 4, 1]], np.int32))
        store.update("user", KEYS[:1], np.array([[3, 4, 0]], np.int32))
        with pytest.raises(StoreError, match=r"update of 'user': .* has norm 5.099"):
            store.update("user", KEYS[:1], np.array([[3, 4, 1]], np.int32))


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf])
def test_bound_that_bounds_nothing_or_all_is_refused(tmp_path: Path, bound: float) -> None:
    words = "table 'user': norm_max .* must be above 0 and finite"
    with pytest.raises(StoreError, match=words):
        ParameterStore.open(tmp_path / "new", create=True, norms={"user": bound})
    assert not (tmp_path / "new").exists()
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with pytest.raises(StoreError, match=words):
            store.update("user", KEYS[:1], rows_of(KEYS[:1], 2), norm_max=bound)


def test_read_only_and_unknown_tables_are_not_updated(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        fill(store)
        with pytest.raises(StoreError, match="no table 'ad'"):
            store.update("ad", KEYS[:1], rows_of(KEYS[:1], 1))
    with (
        ParameterStore.open(tmp_path, read_only=True) as reader,
        pytest.raises(StoreError, match="open read-only; open it for writing to update"),
    ):
        reader.update("user", KEYS[:1], rows_of(KEYS[:1], 1))


def test_update_meant_for_another_shape_is_refused_and_harms_no_other(
    store: ParameterStore,
) -> None:
    fill(store)
    wide = TableSpec("user", 5, "float32")
    store.import_table(TableSpec("ad", 3, "int32"), [(KEYS, rows_of(KEYS, 1))])
    writer = store._parts.writer("update")
    with writer.committer.publishing:  # both wait here until the version has changed
        held = store.submit_update("ad", KEYS[:1], rows_of(KEYS[:1], 2))
        stale = store.submit_update("user", KEYS[:1], rows_of(KEYS[:1], 2))
        other = store.submit_update("ad", KEYS[1:2], rows_of(KEYS[1:2], 2))
        entry = store._versions.catalogue.next_entry(wide, 5)
        entry = writer.loader.load(entry, [(KEYS, make_rows(wide, KEYS))], None)
        catalogue = store._versions.catalogue.with_entry(entry)
        writer.truth.write_catalogue(catalogue.encode())
        writer.versions.adopt(catalogue)
    assert held.result().epoch > 0
    with pytest.raises(StoreError, match="user"):
        stale.result()
    assert other.result().epoch > 0
    assert (look_up(store.table("user"), KEYS)[0] == make_rows(wide, KEYS)).all()


class Gate:
    """A commit that waits until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.groups: list[tuple[int, bool]] = []
        self.flushes = 0

    def commit(self, group: Any, sync: bool) -> list[Receipt]:
        self.entered.set()
        assert self.open.wait(10)
        self.groups.append((len(group), sync))
        return [Receipt(len(self.groups), update.durability) for update in group]

    def flush(self) -> None:
        self.flushes += 1


def an_update(durability: Durability = "sync", count: int = 1) -> Update:
    return Update(SPEC, KEYS[:count], np.zeros((count, 4), np.uint8), durability)


def test_updates_that_gather_are_one_group_and_one_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "GROUP_ROWS", 1000)
    gate = Gate()
    writer = UpdateWriter(gate.commit, gate.flush)
    futures = [writer.submit(an_update("async"))]
    assert gate.entered.wait(10)
    futures += [writer.submit(an_update("async")) for _ in range(50)]
    futures += [writer.submit(an_update("sync", 1000)), writer.submit(an_update("async"))]
    gate.open.set()
    assert {future.result(10).epoch for future in futures} == {1, 2, 3}
    assert gate.groups == [(1, False), (51, True), (1, False)]
    writer.close()
    assert gate.flushes == 1


def test_queue_has_an_end_and_closing_answers_everybody() -> None:
    gate = Gate()
    writer = UpdateWriter(gate.commit, gate.flush)
    futures = [writer.submit(an_update())]
    assert gate.entered.wait(10)
    futures += [writer.submit(an_update()) for _ in range(updates.QUEUE_UPDATES)]
    with pytest.raises(StoreError, match="1024 updates are waiting, which is the limit"):
        writer.submit(an_update())
    gate.open.set()
    writer.close()
    assert sum(future.result(0).epoch > 0 for future in futures) == 1 + updates.QUEUE_UPDATES
    with pytest.raises(StoreError, match="is closed; open it again"):
        writer.submit(an_update())


def test_failing_sync_does_not_end_the_writer(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    gate.open.set()
    flushed: list[float] = []

    def fail() -> None:
        flushed.append(1)
        raise StoreError("disk is gone")

    writer = UpdateWriter(gate.commit, fail)
    for _ in range(2):
        assert writer.submit(an_update("async")).result(10).epoch > 0
        while not flushed:
            pass
        flushed.clear()
    writer.close()
    assert "disk is gone" in caplog.text
