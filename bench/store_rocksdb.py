"""RocksDB alone, in memory, against `get` of a list with a block cache for all of the table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    BATCH_KEYS_MAX,
    SKEWS,
    Effort,
    at_least,
    draw_batches,
    keys_per_s,
    median_us,
    times_as_fast,
)
from bench.store_built import Built
from bench.store_memory import folder_resident
from bench.store_plain import Keys, PlainTiers
from sedp.storage.store import ParameterStore

GOAL = at_least(1.5, 3)
ANCHOR = "rocksdict get(list)"


def rocksdb_figures(
    built: Built, plain: PlainTiers, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """Keys a second of `Table.lookup` where only RocksDB has the rows."""
    truth = built.folder / "truth"  # a store without a warm tier
    truth.mkdir(exist_ok=True)
    (truth / "rocksdb").symlink_to(built.path / "rocksdb")
    figures = list[Figure]()
    with (
        ParameterStore.open(truth, ram_bytes=0, read_only=True) as store,
        folder_resident(built.path / "rocksdb"),
    ):
        table = store.table(built.spec.name)
        for skew in SKEWS:
            for size in (*BATCH_KEYS, BATCH_KEYS_MAX):
                ids = draw_batches(skew, len(built.keys), size, dice)
                keys = ids.astype(np.uint64)
                ours, theirs = measure_in_turn(
                    effort.rounds,
                    median_us(built.look_up(table, ids), len(ids), effort.seconds),
                    median_us(_get(plain, keys), len(ids), effort.seconds),
                )
                name = f"RocksDB only, {skew}, {size:,} keys"
                rates, anchor_rates = keys_per_s(ours, size), keys_per_s(theirs, size)
                goal = None if size == BATCH_KEYS[0] else GOAL
                figures += [
                    make_figure(name, "keys/s", rates, anchor=ANCHOR, anchor_rounds=anchor_rates),
                    times_as_fast(f"{name}: × {ANCHOR}", ours, theirs, goal),
                ]
    return figures


def _get(plain: PlainTiers, keys: Keys) -> Callable[[int], object]:
    return lambda at: plain.get_from_rocksdb(keys[at])
