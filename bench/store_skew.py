"""Placement: 80 of 100 look-ups ask for 1 % of the rows, and LMDB has room for that 1 %.

RAM has places for 0.1 % of the rows, and LMDB the bytes that a table of 1 % of the rows takes. What
is hot they have to find out from the look-ups; then others become hot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.figure import Figure, make_figure
from bench.store_batches import BATCH_KEYS, DIM, ROW_BYTES, Ints, at_least
from bench.store_rows import make_chunks, make_keys
from bench.store_tiers import ram_bytes_for
from sedp.storage.rows.bucket import BucketShape
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.table import Table

HOT_ROWS = 0.01
HOT_LOOKUPS = 0.8
RAM_ROWS = 0.001
LMDB_ROWS = 0.01
GOAL = at_least(0.78)
WINDOW_BATCHES = 100
LOOKUPS_PER_ROW_MAX = 40  # until it counts as not settled

_NAME = "skew"


def skew_figures(folder: Path, rows: int, dice: np.random.Generator) -> list[Figure]:
    """Share of the look-ups answered above RocksDB, and how soon after another 1 % became hot."""
    shape = BucketShape.for_rows(ROW_BYTES, "hashed", int(rows * LMDB_ROWS))
    with ParameterStore.open(
        folder,
        ram_bytes=ram_bytes_for(int(rows * RAM_ROWS), ROW_BYTES),
        lmdb_bytes=shape.disk_bytes,
        create=True,
    ) as store:
        store.import_table(TableSpec(_NAME, DIM, "float32"), make_chunks(rows, DIM))
        table, order = store.table(_NAME), dice.permutation(rows)
        windows_max = rows * LOOKUPS_PER_ROW_MAX // (WINDOW_BATCHES * BATCH_KEYS[-1])
        _settle(table, _batches(order, dice), windows_max)
        settled = [_served(table, _batches(order, dice)) for _ in range(3)]
        seconds, lookups = _settle(table, _batches(order[::-1], dice), windows_max)
    name = (
        f"{HOT_LOOKUPS:.0%} of look-ups to {HOT_ROWS:.0%} of {rows:,} rows, "
        f"RAM {RAM_ROWS:.1%} + LMDB {LMDB_ROWS:.0%}"
    )
    return [
        make_figure(f"{name}: not asked of RocksDB", "of keys", settled, goal=GOAL),
        make_figure(f"{name}: time until so for another {HOT_ROWS:.0%}", "s", [seconds]),
        make_figure(f"{name}: look-ups until then, a row", "keys", [lookups / rows]),
    ]


def _batches(order: Ints, dice: np.random.Generator) -> Iterator[Ints]:
    hot = int(len(order) * HOT_ROWS)
    while True:
        of_all = dice.integers(len(order), size=BATCH_KEYS[-1])
        of_hot = dice.integers(hot, size=BATCH_KEYS[-1])
        yield order[np.where(dice.random(BATCH_KEYS[-1]) < HOT_LOOKUPS, of_hot, of_all)]


def _settle(table: Table, batches: Iterator[Ints], windows_max: int) -> tuple[float, int]:
    """Seconds and look-ups until the goal holds; infinite seconds if it does not in time."""
    started = time.perf_counter()
    for window in range(1, windows_max + 1):
        if GOAL.holds(_served(table, batches)):
            return time.perf_counter() - started, window * WINDOW_BATCHES * BATCH_KEYS[-1]
    return float("inf"), windows_max * WINDOW_BATCHES * BATCH_KEYS[-1]


def _served(table: Table, batches: Iterator[Ints]) -> float:
    """Share of the keys of a window that RAM or LMDB answered."""
    out = np.empty((BATCH_KEYS[-1], DIM), dtype=np.float32)
    missing = np.empty(BATCH_KEYS[-1], dtype=np.bool_)
    before = _hits(table)
    for _ in range(WINDOW_BATCHES):
        table.lookup(make_keys(next(batches)), out, missing)
    assert not missing.any(), "the store lacks rows"
    return (_hits(table) - before) / (WINDOW_BATCHES * BATCH_KEYS[-1])


def _hits(table: Table) -> int:
    return sum(tier.hits for tier in table.statistics().tiers if tier.tier in ("ram", "lmdb"))
