"""Any history of a store agrees with plain dicts, here and in a process that follows.

Imports, whole or as deltas that chain, updates, ways back, look-ups, reopenings with and without
LMDB, placement and backups, in tables of every layout and row format. SEDP_HISTORIES says how many;
`make histories` runs 500, and `make histories HISTORIES=20000` is for a night.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sedp.errors import StoreError
from sedp.storage import catalogue
from sedp.storage.store import LMDB_BYTES_MAX, ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.updates import Durability
from tests.storage.follower import Follower
from tests.storage.table_model import TableModel, expected_rows, rows_of
from tests.storage.tables import keys_of, look_up

HISTORIES = int(os.environ.get("SEDP_HISTORIES", "60"))
CHAIN_MAX = 3
LAST = (1 << 64) - 1
keys = st.one_of(st.integers(0, 60), st.just(LAST))
names = st.sampled_from(["ad", "user"])
values = st.dictionaries(keys, st.integers(1, 1000), max_size=60)
rams = st.sampled_from([0, 2000, 1 << 20])

specs = st.one_of(
    st.builds(
        TableSpec,
        name=names,
        dim=st.sampled_from([1, 3, 40]),
        dtype=st.just("float32"),
        default=st.just(()),
        row_format=st.sampled_from(["float32", "float16", "int8"]),
        layout=st.sampled_from(["hashed", "dense"]),
    ),
    st.builds(
        TableSpec,
        name=names,
        dim=st.sampled_from([1, 40]),
        dtype=st.sampled_from(["int32", "int64"]),
        layout=st.sampled_from(["hashed", "dense"]),
    ),
)


class StoreHistory(RuleBasedStateMachine):
    follower: Follower

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.tables: dict[str, TableModel] = {}
        self.ids = set[tuple[str, str]]()
        self.backups = 0
        self.open(2000, LMDB_BYTES_MAX)

    def open(self, ram_bytes: int, lmdb_bytes: int) -> None:
        self.store = ParameterStore.open(
            self.folder / "s", ram_bytes=ram_bytes, lmdb_bytes=lmdb_bytes, create=True
        )

    def teardown(self) -> None:
        self.follower.close()
        self.store.close()
        shutil.rmtree(self.folder)

    # What changes the store -------------------------------------------------------------------

    @rule(spec=specs, chunks=st.lists(values, max_size=3))
    def publish(self, spec: TableSpec, chunks: list[dict[int, int]]) -> None:
        arrays = [(keys_of(*chunk), rows_of(spec, [*chunk.values()])) for chunk in chunks]
        count, top = sum(map(len, chunks)), max([-1, *(key for chunk in chunks for key in chunk)])
        if spec.layout == "dense" and count and top >= 4 * count:
            with pytest.raises(StoreError, match="too far out for a dense table"):
                self.store.import_table(spec, arrays)
            return
        spec = self.store.import_table(spec, arrays)
        table = self.tables.setdefault(spec.name, TableModel())
        assert spec.version == max(table.versions, default=0) + 1
        table.publish(spec, {key: value for chunk in chunks for key, value in chunk.items()})

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), row_of=values, gone=st.sets(keys, max_size=20), goes_back=st.booleans())
    def chain(
        self, data: st.DataObject, row_of: dict[int, int], gone: set[int], goes_back: bool
    ) -> None:
        name = data.draw(st.sampled_from([*self.tables]))
        table = self.tables[name]
        base = data.draw(st.sampled_from([*table.versions]))
        spec, held = table.versions[base]
        chunk = keys_of(*row_of), rows_of(spec, [*row_of.values()])
        if table.below[base] == CHAIN_MAX:
            with pytest.raises(StoreError, match="chains on 3 others, which is the limit"):
                self.store.import_table(spec, [chunk], base=base)
            if spec.layout == "hashed":  # updates take keys too far out for a dense table
                self.compact(name, base)
            return
        spec = self.store.import_table(spec, [chunk], base=base, removed=keys_of(*gone))
        assert self.store.chain(name)[0] == base
        left = {key: value for key, value in held.items() if key not in gone}
        table.publish(spec, {**left, **row_of}, table.below[base] + 1)
        if goes_back and base in table.versions:
            table.current = self.store.roll_back(name, base).version
            if row_of:
                # Keys that the delta has, and others next to them.
                fresh = {key ^ 1: value + 1 for key, value in row_of.items() if key != LAST}
                fresh[LAST] = 5
                self.store.update(name, keys_of(*fresh), rows_of(spec, [*fresh.values()]))
                held.update(fresh)

    def compact(self, name: str, base: int) -> None:
        table = self.tables[name]
        if base != table.current:
            self.store.roll_back(name, base)
            table.current = base
        spec, held = table.versions[base]
        table.publish(self.store.import_table(spec, [], onto_current=True), {**held})
        assert self.store.chain(name) == ()

    @precondition(lambda self: self.tables)
    @rule(
        data=st.data(),
        row_of=values.filter(len),
        durability=st.sampled_from(["none", "async", "sync"]),
        id=st.sampled_from(["", "", "a", "b", "c"]),
    )
    def update(
        self, data: st.DataObject, row_of: dict[int, int], durability: Durability, id: str
    ) -> None:
        table = self.tables[data.draw(st.sampled_from([*self.tables]))]
        spec, held = table.versions[table.current]
        arrays = spec.name, keys_of(*row_of), rows_of(spec, [*row_of.values()])
        id = id or (f"once {len(self.ids)}" if durability == "none" else "")
        known_as = spec.name, id
        receipt = self.store.update(*arrays, durability=durability, id=id)
        if durability == "none":  # sent again, it is answered once the first is committed
            assert receipt.epoch == 0
            assert self.store.update(*arrays, id=id).is_repeat
        else:
            assert receipt.is_repeat == (known_as in self.ids)
        if known_as not in self.ids:
            held.update(row_of)
        if id:
            self.ids.add(known_as)

    @precondition(lambda self: any(len(table.versions) > 1 for table in self.tables.values()))
    @rule()
    def roll_back(self) -> None:
        for name, table in self.tables.items():
            others = table.versions.keys() - {table.current}
            if others:
                table.current = self.store.roll_back(name).version
                assert table.current == max(others)

    @rule(
        ram_bytes=rams,
        lmdb_bytes=st.sampled_from([0, LMDB_BYTES_MAX]),
        lose_warm=st.booleans(),
        settle=st.booleans(),
    )
    def reopen(self, ram_bytes: int, lmdb_bytes: int, lose_warm: bool, settle: bool) -> None:
        self.store.close()
        if lose_warm:
            self.follower.close()
            shutil.rmtree(self.folder / "s" / "lmdb")
        self.open(ram_bytes, lmdb_bytes)
        if settle:
            self.store.settle()

    # What looks at it -------------------------------------------------------------------------

    @rule(wanted=st.lists(keys, max_size=50), data=st.data(), times=st.integers(1, 3))
    def look_up(self, wanted: list[int], data: st.DataObject, times: int) -> None:
        for name, table in self.tables.items():
            version = data.draw(st.sampled_from([None, *table.versions]))
            for _ in range(times):
                self.check(self.store, name, version, wanted)
                self.store.settle()

    def check(
        self, store: ParameterStore, name: str, version: int | None, wanted: list[int]
    ) -> None:
        model = self.tables[name]
        spec, row_of = model.versions[version or model.current]
        table = store.table(name, version)
        assert table.spec == spec
        rows, missing = look_up(table, keys_of(*wanted))
        assert missing.tolist() == [key not in row_of for key in wanted]
        assert (rows == expected_rows(spec, row_of, wanted)).all()

    @precondition(lambda self: any(map(any, (t.below.values() for t in self.tables.values()))))
    @rule()
    def ask_truth(self) -> None:
        """Of all versions, as LMDB would hide what is wrong there."""
        wanted = [*range(62), LAST]
        for name, table in self.tables.items():
            for entry in self.store._parts.versions.catalogue.entries:
                if entry.spec.name == name:
                    row_of = table.versions[entry.spec.version][1]
                    stored = np.empty((len(wanted), entry.spec.row_bytes), np.uint8)
                    missing = np.empty(len(wanted), np.bool_)
                    truth = self.store._parts.versions.version(entry).truth
                    truth.get_many(keys_of(*wanted), stored, missing)
                    assert missing.tolist() == [key not in row_of for key in wanted]
                    rows = np.empty((len(wanted), entry.spec.dim), entry.spec.row_dtype)
                    entry.spec.decode(stored, rows)
                    expected = expected_rows(entry.spec, row_of, wanted)
                    assert (rows == expected)[~missing].all()

    @rule(wanted=st.lists(keys, max_size=50), data=st.data())
    def look_up_bags(self, wanted: list[int], data: st.DataObject) -> None:
        for name, table in self.tables.items():
            spec, row_of = table.versions[table.current]
            if spec.dtype != "float32":
                continue
            cut = data.draw(st.integers(0, len(wanted)))
            sums = np.full((2, spec.dim), 77, np.float32)
            offsets = np.array([0, cut, len(wanted)])
            count = self.store.table(name).lookup_bags(keys_of(*wanted), offsets, sums, "sum")
            assert count == sum(key not in row_of for key in wanted)
            rows = expected_rows(spec, row_of, wanted).astype(np.float64)
            expected = [rows[:cut].sum(axis=0), rows[cut:].sum(axis=0)]
            np.testing.assert_allclose(sums, expected, rtol=1e-5)

    @precondition(lambda self: self.tables)
    @rule(wanted=st.lists(keys, max_size=50), ram_bytes=rams, data=st.data())
    def follow(self, wanted: list[int], ram_bytes: int, data: st.DataObject) -> None:
        if not self.follower.is_open:
            self.follower.open(self.folder / "s", ram_bytes)
        for name, table in self.tables.items():
            version = data.draw(st.sampled_from([None, *table.versions]))
            spec, row_of = table.versions[version or table.current]
            rows, missing = self.follower.look_up(name, version, wanted)
            assert missing == [key not in row_of for key in wanted]
            assert rows == expected_rows(spec, row_of, wanted).tolist()

    @rule(settle=st.booleans())
    def verify(self, settle: bool) -> None:
        if settle:
            self.store.settle()
        report = self.store.verify()
        assert report.is_sound
        versions = sum(len(table.versions) for table in self.tables.values())
        tiers = [part.tier for part in report.parts]
        assert tiers.count("rocksdb") == versions
        assert tiers.count("lmdb") == versions or not settle

    @precondition(lambda self: self.tables and self.backups < 2)
    @rule(read_only=st.booleans(), ram_bytes=rams)
    def back_up(self, read_only: bool, ram_bytes: int) -> None:
        self.backups += 1
        folder = self.folder / f"backup-{self.backups}"
        self.store.back_up(folder)
        with ParameterStore.open(folder, ram_bytes=ram_bytes, read_only=read_only) as backup:
            backup.settle()
            for name, table in self.tables.items():
                for version, (_, row_of) in table.versions.items():
                    self.check(backup, name, version, [*row_of, 7])
                self.check(backup, name, None, [7])

    @invariant()
    def versions_agree(self) -> None:
        assert {spec.name for spec in self.store.tables()} == self.tables.keys()
        for name, table in self.tables.items():
            assert self.store.versions(name) == tuple(table.versions)
            assert self.store.table(name).spec.version == table.current


@pytest.fixture(scope="module", autouse=True)
def _follower() -> Any:
    StoreHistory.follower = Follower()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "CHAIN_MAX", CHAIN_MAX)
        yield
    StoreHistory.follower.end()


TestStoreHistory = StoreHistory.TestCase
TestStoreHistory.settings = settings(max_examples=HISTORIES, stateful_step_count=20, deadline=None)
