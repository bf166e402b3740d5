"""Any history of imports, look-ups, reopenings and lost warm tiers agrees with a dict of dicts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sedp.storage.store import ParameterStore
from sedp.storage.table import TableSpec
from tests.storage.tables import keys_of, look_up

LAST = (1 << 64) - 1
keys = st.one_of(st.integers(0, 40), st.just(LAST))
names = st.sampled_from(["ad", "user"])
chunks = st.lists(st.dictionaries(keys, st.integers(1, 1000), max_size=20), max_size=4)


class StoreHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, dict[int, tuple[TableSpec, dict[int, int]]]] = {}
        self.open(2000)

    def open(self, ram_bytes: int) -> None:
        self.store = ParameterStore.open(self.folder, ram_bytes=ram_bytes, create=True)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(name=names, chunks=chunks, dim=st.integers(1, 3), default=st.integers(-5, 5))
    def publish(self, name: str, chunks: list[dict[int, int]], dim: int, default: int) -> None:
        spec = TableSpec(name, dim, "int64", default=(default,) * dim)
        arrays = (
            (
                keys_of(*chunk),
                np.array([[value] * dim for value in chunk.values()]).reshape(-1, dim),
            )
            for chunk in chunks
        )
        versions = self.model.setdefault(name, {})
        spec = self.store.import_table(
            spec, ((keys, rows.astype(np.int64)) for keys, rows in arrays)
        )
        assert spec.version == max(versions, default=0) + 1
        versions[spec.version] = spec, {k: v for chunk in chunks for k, v in chunk.items()}
        for old in sorted(versions)[:-2]:
            del versions[old]

    @rule(wanted=st.lists(keys, max_size=50), data=st.data())
    def look_up(self, wanted: list[int], data: st.DataObject) -> None:
        for name, versions in self.model.items():
            version = data.draw(st.sampled_from([None, *versions]))
            spec, expected = versions[version or max(versions)]
            table = self.store.table(name, version)
            assert table.spec == spec
            rows, missing = look_up(table, keys_of(*wanted))
            assert missing.tolist() == [key not in expected for key in wanted]
            default = spec.default[0]
            assert rows.tolist() == [[expected.get(key, default)] * spec.dim for key in wanted]

    @rule(ram_bytes=st.sampled_from([0, 2000, 1 << 20]), lose_warm=st.booleans())
    def reopen(self, ram_bytes: int, lose_warm: bool) -> None:
        self.store.close()
        if lose_warm:
            shutil.rmtree(self.folder / "lmdb")
        self.open(ram_bytes)

    @rule()
    def verify(self) -> None:
        report = self.store.verify()
        assert report.is_sound
        assert len(report.parts) == 2 * sum(len(versions) for versions in self.model.values())

    @invariant()
    def versions_agree(self) -> None:
        assert {spec.name for spec in self.store.tables()} == self.model.keys()
        for name, versions in self.model.items():
            assert self.store.versions(name) == tuple(versions)


TestStoreHistory = StoreHistory.TestCase
TestStoreHistory.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
