"""What RAM of each worker's own costs against RAM that all would share.

LMDB is shared already: its pages are in memory once, whoever maps them. So workers that divide a
budget of RAM lose hits, and what a worker's RAM has not it copies from LMDB. Measured is one worker
with all of the budget, which a shared one would be at best, without locks between processes, and
one with half and a quarter of it; and a table that is resident against one that LMDB alone has.
"""

from __future__ import annotations

import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    SKEWS,
    Effort,
    Ints,
    draw_batches,
    median_us,
    times_as_fast,
)
from bench.store_built import Built, opened
from bench.store_threads import RESIDENT_BYTES
from bench.store_tiers import DRAWS_PER_ROW, RAM_SHARE, ram_bytes_for, settled

PARTS = (1, 2, 4)


def shared_ram_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Of one table, in batches of a fixed stream."""
    rows = len(built.keys)
    ids = draw_batches(SKEWS[0], rows, BATCH_KEYS[-1], dice, rows * DRAWS_PER_ROW)
    places = int(rows * RAM_SHARE)
    budgets = {
        f"1/{part} of RAM for {RAM_SHARE:.0%}": ram_bytes_for(places // part, built.spec.row_bytes)
        for part in PARTS
    }
    budgets |= {"RAM for all": RESIDENT_BYTES, "no RAM": 0}
    figures = list[Figure]()
    for name, ram_bytes in budgets.items():
        figures += _figures(
            f"a worker with {name} over LMDB, {SKEWS[0]}", built, ids, ram_bytes, effort
        )
    return figures


def _figures(name: str, built: Built, ids: Ints, ram_bytes: int, effort: Effort) -> list[Figure]:
    """Speed, hits of RAM, and its bytes."""
    with opened(built.path, ram_bytes) as held:
        look_up = settled(built, held, ids)
        before = held.table.statistics().tiers[0]
        ours, limit = measure_in_turn(
            effort.rounds,
            median_us(look_up, len(ids), effort.seconds * 2),
            median_us(built.take_from(built.dense, ids), len(ids), effort.seconds),
        )
        after = held.table.statistics().tiers[0]
    hits = (after.hits - before.hits) / (after.lookups - before.lookups)
    return [
        times_as_fast(f"{name}: × np.take of a dense table", ours, limit, None),
        make_figure(f"{name}: hits of RAM", "of keys", [hits]),
        make_figure(f"{name}: RAM", "MB", [after.bytes / 1e6]),
    ]
