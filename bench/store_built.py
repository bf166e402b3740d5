"""A table in a store, and the same rows as a dense array in memory and in a mapped file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.store_batches import Ints
from bench.store_memory import folder_resident, resident
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.opening import LMDB_BYTES_MAX, Budgets, OpenStore, open_store
from sedp.storage.rocksdb.options import CACHE_BYTES
from sedp.storage.rows.bucket import PAGE_BYTES, BucketShape, Layout
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.table import Table
from sedp.storage.tier import Keys

Floats = NDArray[np.float32]
NAME = "bench"
_CHUNK_ROWS = 1 << 16


class Built:
    """Keys 0..rows-1 in no order, with random rows.

    Args:
        folder: where the files go.
        rows: of the table.
        dim: of a row, float32.
    """

    def __init__(
        self, folder: Path, rows: int, dim: int, layout: Layout, dice: np.random.Generator
    ) -> None:
        folder.mkdir()
        self.spec = TableSpec(NAME, dim, "float32", layout=layout)
        self.keys: Keys = dice.permutation(rows).astype(np.uint64)
        self.rows: Floats = dice.random((rows, dim), dtype=np.float32)
        self.dense = self.rows[np.argsort(self.keys)]  # row of key k at k
        self.mapped = np.memmap(folder / "rows", np.float32, "w+", shape=self.dense.shape)
        self.mapped[:] = self.dense
        self.folder = folder
        self.path = folder / "store"

    def chunks(self) -> list[tuple[Keys, Floats]]:
        """Views of keys and rows, as an import takes them."""
        starts = range(0, len(self.keys), _CHUNK_ROWS)
        parts = [slice(start, start + _CHUNK_ROWS) for start in starts]
        return [(self.keys[part], self.rows[part]) for part in parts]

    def import_store(self, lmdb_bytes: int = LMDB_BYTES_MAX) -> float:
        """Make the store anew; seconds that `import_table` took."""
        shutil.rmtree(self.path, ignore_errors=True)
        with ParameterStore.open(
            self.path, ram_bytes=0, lmdb_bytes=lmdb_bytes, create=True
        ) as store:
            started = time.perf_counter()
            store.import_table(self.spec, self.chunks())
            return time.perf_counter() - started

    def lmdb_bytes(self, share: float) -> int:
        """What LMDB needs to have slots for a share of the rows: buckets of a cache fill up."""
        shape = BucketShape.for_rows(self.spec.row_bytes, self.spec.layout, len(self.keys))
        buckets = int(len(self.keys) * share / shape.slots)
        return (buckets + 1) * (shape.disk_bytes // shape.buckets)

    def take_from(self, table: Floats, ids: Ints) -> Callable[[int], object]:
        """Gather of a batch by its number, from the dense array or the mapped one."""
        out = np.empty((ids.shape[1], self.spec.dim), dtype=np.float32)
        return lambda at: np.take(table, ids[at], axis=0, mode="clip", out=out)

    def look_up(
        self, table: Table, ids: Ints, *, is_as_built: bool = True
    ) -> Callable[[int], object]:
        """`Table.lookup` of a batch by its number, after a look at the first one's answer."""
        keys = ids.astype(np.uint64)
        out = np.empty((ids.shape[1], self.spec.dim), dtype=np.float32)
        missing = np.empty(ids.shape[1], dtype=np.bool_)
        table.lookup(keys[0], out, missing)
        is_right = not is_as_built or np.array_equal(out, self.dense[ids[0]])
        assert is_right, "the table gave other rows than it got"
        return lambda at: table.lookup(keys[at], out, missing)

    @contextmanager
    def mapping_resident(self) -> Iterator[None]:
        """Keep the mapped file in memory."""
        with resident(self.mapped.ctypes.data, self.mapped.nbytes):
            yield


class Opened:
    """An open store and the parts of it that are measured alone."""

    def __init__(self, parts: OpenStore) -> None:
        self._parts = parts
        self.store = ParameterStore(parts, {})
        self.table: Table = self.store.table(NAME)

    @property
    def warm(self) -> LmdbTier:
        """The table's part of LMDB."""
        warm = self._parts.versions.current(NAME).warm
        assert warm is not None, "the table is not in LMDB"
        return warm

    @property
    def lmdb_path(self) -> Path:
        """LMDB's file."""
        return self._parts.path / "lmdb" / "data.mdb"

    @property
    def lmdb_map(self) -> tuple[int, int]:
        """Address and bytes of what LMDB's file has now."""
        assert self._parts.warm is not None
        with self._parts.warm.reading() as snapshot:
            assert snapshot is not None
            return snapshot.base, snapshot.file_pages * PAGE_BYTES


@contextmanager
def unlocked(path: Path, ram_bytes: int) -> Iterator[Opened]:
    """A store as its users open it."""
    parts = open_store(path, Budgets(ram_bytes, LMDB_BYTES_MAX, CACHE_BYTES), False, False, {})
    try:
        yield Opened(parts)
    finally:
        parts.close()


@contextmanager
def opened(path: Path, ram_bytes: int) -> Iterator[Opened]:
    """A store with the pages of both cold tiers kept in memory."""
    with (
        unlocked(path, ram_bytes) as held,
        resident(*held.lmdb_map),
        folder_resident(path / "rocksdb"),
    ):
        yield held
