"""The whole look-up, on each tier alone and through all of them, and the import that fills them.

One table, built once a round by the import that is measured; the last one is then read. Opened
with no RAM it is read from LMDB; over a folder that has the truth only, from RocksDB or, with RAM
for all rows, from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    DIM,
    ROW_BYTES,
    SKEWS,
    Effort,
    Ints,
    draw_batches,
    keys_per_s,
    median_us,
    times_as_fast,
)
from bench.store_plain import Keys, PlainTiers, Rows
from sedp.storage.budget import ABSENT_SHARE
from sedp.storage.ram_kernels import WAYS
from sedp.storage.ram_tier import bytes_per_set
from sedp.storage.store import ParameterStore
from sedp.storage.table import Table, TableSpec

RESIDENT_BYTES = 1 << 30
CACHE_SHARE = 0.05  # of the rows that have a place in RAM, end to end
_SPEC = TableSpec("bench", DIM, "float32")
_CHUNK_ROWS = 1 << 16


class Built:
    """A table in a store and in plain libraries, built anew by each call of either method."""

    def __init__(self, folder: Path, rows: int, dice: np.random.Generator) -> None:
        self.keys: Keys = dice.permutation(rows).astype(np.uint64)
        self.rows: Rows = dice.random((rows, DIM), dtype=np.float32)
        self.dense = self.rows[np.argsort(self.keys)]  # row of key k at k
        self.mapped = np.memmap(folder / "rows", np.float32, "w+", shape=self.dense.shape)
        self.mapped[:] = self.dense
        self.store_path, self._plain_path = folder / "store", folder / "plain"
        self.plain: PlainTiers | None = None

    def import_store(self) -> float:
        """Seconds that `import_table` took, in chunks in no order."""
        shutil.rmtree(self.store_path, ignore_errors=True)
        starts = range(0, len(self.keys), _CHUNK_ROWS)
        parts = [slice(start, start + _CHUNK_ROWS) for start in starts]
        with ParameterStore.open(self.store_path, ram_bytes=0, create=True) as store:
            started = time.perf_counter()
            store.import_table(_SPEC, ((self.keys[part], self.rows[part]) for part in parts))
            return time.perf_counter() - started

    def fill_plain(self) -> float:
        """Seconds to store the same in both libraries."""
        self.close()
        shutil.rmtree(self._plain_path, ignore_errors=True)
        self.plain = PlainTiers(self._plain_path)
        started = time.perf_counter()
        self.plain.fill(self.keys, self.rows)
        return time.perf_counter() - started

    def close(self) -> None:
        if self.plain is not None:
            self.plain.close()


def tier_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Keys a second of `Table.lookup` where one tier has all that is asked for."""
    figures = list[Figure]()
    with _one_tier_tables(built.store_path) as tables:
        for skew in SKEWS:
            for size in BATCH_KEYS:
                ids = draw_batches(skew, len(built.keys), size, dice)
                figures += _tier_figures(built, tables, skew, ids, effort)
    return figures


def _tier_figures(
    built: Built, tables: list[Table], skew: str, ids: Ints, effort: Effort
) -> list[Figure]:
    ram, lmdb, rocksdb, dense, getmulti, get_list, memmap = measure_in_turn(
        effort.rounds,
        *(
            median_us(look_up, len(ids), effort.seconds)
            for look_up in (
                *(_look_up(built, table, ids) for table in tables),
                *_anchors(built, ids),
            )
        ),
    )
    size = ids.shape[1]
    figures = list[Figure]()
    for tier, us, anchor, anchor_us, goal in (
        ("RAM, resident", ram, "np.take of a dense table", dense, 0.6),
        ("LMDB only", lmdb, "py-lmdb getmulti", getmulti, 10),
        ("LMDB only", lmdb, "np.take of a memmap", memmap, 0.2),
        ("RocksDB only", rocksdb, "rocksdict get(list)", get_list, 1.5),
    ):
        name = f"look-up, {tier}, {skew}, {size:,} keys"
        if anchor_us is not memmap:
            figures.append(_rate_figure(name, size, us, anchor, anchor_us))
        if size == BATCH_KEYS[-1]:
            least = Goal(goal, at_most=False)
            figures.append(times_as_fast(f"{name}: × {anchor}", us, anchor_us, least))
    return figures


def _anchors(built: Built, ids: Ints) -> list[Callable[[int], object]]:
    """Dense gather, py-lmdb, rocksdict, gather from a mapped file; each takes a batch's number."""
    assert built.plain is not None
    plain, keys = built.plain, ids.astype(np.uint64)
    out = np.empty((ids.shape[1], DIM), dtype=np.float32)
    for answer in (plain.get_from_lmdb, plain.get_from_rocksdb):
        assert np.array_equal(answer(keys[0]), built.dense[ids[0]])
    return [
        lambda at: np.take(built.dense, ids[at], axis=0, mode="clip", out=out),
        lambda at: plain.get_from_lmdb(keys[at]),
        lambda at: plain.get_from_rocksdb(keys[at]),
        lambda at: np.take(built.mapped, ids[at], axis=0, mode="clip", out=out),
    ]


def _rate_figure(
    name: str, size: int, us: list[float], anchor: str, anchor_us: list[float]
) -> Figure:
    rates, anchor_rates = keys_per_s(us, size), keys_per_s(anchor_us, size)
    return make_figure(name, "keys/s", rates, anchor=anchor, anchor_rounds=anchor_rates)


def _look_up(built: Built, table: Table, ids: Ints) -> Callable[[int], object]:
    """`Table.lookup` of a batch by its number, after a look at the first one's answer."""
    keys = ids.astype(np.uint64)
    out = np.empty((ids.shape[1], DIM), dtype=np.float32)
    missing = np.empty(ids.shape[1], dtype=np.bool_)
    table.lookup(keys[0], out, missing)
    assert np.array_equal(out, built.dense[ids[0]]), "the table gave other rows than it was given"
    return lambda at: table.lookup(keys[at], out, missing)


@contextmanager
def _one_tier_tables(store_path: Path) -> Iterator[list[Table]]:
    """The table all in RAM, from LMDB only, and from RocksDB only."""
    truth_path = store_path.parent / "truth"
    truth_path.mkdir()
    (truth_path / "rocksdb").symlink_to(store_path / "rocksdb")
    with (
        ParameterStore.open(store_path, ram_bytes=0) as lmdb,
        ParameterStore.open(truth_path, ram_bytes=0, read_only=True) as rocksdb,
        ParameterStore.open(truth_path, ram_bytes=RESIDENT_BYTES, read_only=True) as ram,
    ):
        table = ram.table(_SPEC.name)
        assert table.statistics().resident, "RESIDENT_BYTES do not take all rows"
        yield [table, lmdb.table(_SPEC.name), rocksdb.table(_SPEC.name)]


def end_to_end_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """RAM for 5 % of the rows, all of them in LMDB and RocksDB, against plain Python with as many.

    Both are warmed by one pass over the keys. RocksDB is there as in service, but as no key is
    absent, neither has to ask it.
    """
    assert built.plain is not None
    plain, rows, size = built.plain, len(built.keys), BATCH_KEYS[-1]
    sets = int(rows * CACHE_SHARE) // WAYS
    row_bytes = sets * bytes_per_set(ROW_BYTES)
    ram_bytes = row_bytes * ABSENT_SHARE // (ABSENT_SHARE - 1)
    with ParameterStore.open(built.store_path, ram_bytes=ram_bytes) as store:
        table = store.table(_SPEC.name)
        ids = draw_batches(SKEWS[0], rows, size, dice)
        keys = ids.astype(np.uint64)
        look_up = _look_up(built, table, ids)
        plain.places = table.statistics().tiers[0].bytes // bytes_per_set(ROW_BYTES) * WAYS
        for at in range(len(keys)):
            look_up(at)
            plain.look_up(keys[at])
        assert np.array_equal(plain.look_up(keys[0]), built.dense[ids[0]])
        ours, theirs = measure_in_turn(
            effort.rounds,
            median_us(look_up, len(keys), effort.seconds * 2),
            median_us(lambda at: plain.look_up(keys[at]), len(keys), effort.seconds * 2),
        )
    name = f"end to end, RAM {CACHE_SHARE:.0%} + LMDB + RocksDB, {SKEWS[0]}, {size:,} keys"
    anchor = "OrderedDict → txn.get → Rdict.get"
    goal = Goal(15, at_most=False)
    return [
        _rate_figure(name, size, ours, anchor, theirs),
        times_as_fast(f"{name}: × plain Python", ours, theirs, goal),
    ]


def import_figures(built: Built, effort: Effort) -> list[Figure]:
    """Rows a second into both tiers on disk; of the anchor too."""
    ours, theirs = measure_in_turn(min(effort.rounds, 3), built.import_store, built.fill_plain)
    rows = len(built.keys)
    return [
        make_figure(
            f"import, {rows:,} rows in no order",
            "rows/s",
            [rows / seconds for seconds in ours],
            goal=Goal(2_000_000, at_most=False),
            anchor="putmulti + SstFileWriter",
            anchor_rounds=[rows / seconds for seconds in theirs],
        )
    ]
