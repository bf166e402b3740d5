"""What RAM of each worker's own costs against RAM that all would share.

LMDB is shared already: its pages are in memory once, whoever maps them. So workers that divide a
budget of RAM lose hits, and what a worker's RAM has not it copies from LMDB. Measured is one worker
with all of the budget, which a shared one would be at best, without locks between processes, and
one with half and a quarter of it; and a table that is resident against one that LMDB alone has.

Tables that fit whole are shared. What that costs a look-up is measured with one process's mapping
of another's rows beside rows of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial

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
from sedp.storage.ram.budget import SHARED_PLACES_PER_ROW
from sedp.storage.ram.kernels import RESIDENT_REACH
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.ram.tier import RamTier

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
    return [*figures, _mapped(built, ids, effort)]


def _mapped(built: Built, ids: Ints, effort: Effort) -> Figure:
    """Rows that another process keeps, against the same in memory of one's own."""
    rows, keys = built.dense.view(np.uint8), np.arange(len(built.dense), dtype=np.uint64)
    fd = os.memfd_create("bench", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    sets = math.ceil(len(keys) * SHARED_PLACES_PER_ROW / WAYS)
    size = built.spec.row_bytes
    owner = RamTier(
        "ram", size, sets, RESIDENT_REACH, make_region=partial(SharedRam.own(fd, 1).make, 1)
    )
    own, follower = RamTier("ram", size, sets, RESIDENT_REACH), SharedRam.follow(fd, 1)
    for tier in (owner, own):
        tier.put_many(keys, rows)
        assert tier.settle(len(keys)), "not all rows have a place"
    region = None if follower is None else follower.find(1)
    assert region is not None, "the rows are not shown"
    mapped = RamTier("ram", size)
    mapped.attach(region, len(keys), 1)
    ours, limit = measure_in_turn(
        effort.rounds,
        median_us(_ask(mapped, ids, size), len(ids), effort.seconds),
        median_us(_ask(own, ids, size), len(ids), effort.seconds),
    )
    owner.resize(0)
    os.close(fd)
    return times_as_fast(f"rows of another process's, {SKEWS[0]}: × one's own", ours, limit, None)


def _ask(tier: RamTier, ids: Ints, row_bytes: int) -> Callable[[int], object]:
    """`get_many` of a batch by its number."""
    wanted, out = ids.astype(np.uint64), np.empty((ids.shape[1], row_bytes), dtype=np.uint8)
    missing = np.empty(ids.shape[1], dtype=np.bool_)
    return lambda at: tier.get_many(wanted[at], out, missing)


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
