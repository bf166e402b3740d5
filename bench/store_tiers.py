"""The whole look-up through RAM, LMDB and RocksDB, against plain Python and the dense gather.

Both have RAM for 5 % of the rows. Where LMDB has half of the rows, plain Python is told beforehand
which half is asked for most; the store has to find out, in passes over the keys before it is
measured, until hardly a row moves up any more. The batches are of one fixed stream, so what is hot
does not change; it has ten keys for each row of the table, so that the rare ones are met as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    BATCH_KEYS_MAX,
    ROW_BYTES,
    SKEWS,
    Effort,
    Ints,
    at_least,
    draw_batches,
    keys_per_s,
    median_us,
    tail_us,
    times_as_fast,
)
from bench.store_built import Built, Floats, Opened, opened
from bench.store_plain import PlainTiers
from sedp.storage.ram.budget import ABSENT_SHARE
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.tier import bytes_per_set
from sedp.storage.tables.table import Table
from sedp.storage.tier import Keys

RAM_SHARE = 0.05  # of the rows that have a place in RAM
LMDB_SHARE = 0.5
DRAWS_PER_ROW = 10
PLAIN_BATCHES = 400  # until the LRU is full: a dict has no more to learn
PASSES = 2  # over all batches, at least
PASSES_MAX = 12
MOVED_MAX = 0.002  # of the rows in one pass: then RAM and LMDB have what they should
PLAIN_GOAL = at_least(15, 25)
DENSE_GOAL = at_least(0.4, 0.6)
TAIL_GOAL = Goal(1000)
ANCHOR = "OrderedDict → txn.get → Rdict.get"


def whole_figures(
    built: Built, plain: PlainTiers, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """Over a store that has all rows in LMDB."""
    rows, skew, size = len(built.keys), SKEWS[0], BATCH_KEYS[-1]
    ids = draw_batches(skew, rows, size, dice, rows * DRAWS_PER_ROW)
    many = ids.ravel()[: ids.size // BATCH_KEYS_MAX * BATCH_KEYS_MAX].reshape(-1, BATCH_KEYS_MAX)
    with opened(built.path, ram_bytes_for(int(rows * RAM_SHARE), ROW_BYTES)) as held:
        plain.places = int(rows * RAM_SHARE)
        look_up = settled(built, held, ids)
        warm_up(plain_look_up(plain, ids), min(PLAIN_BATCHES, len(ids)))
        ours, limit, theirs = measure_in_turn(
            effort.rounds,
            median_us(look_up, len(ids), effort.seconds * 2),
            median_us(built.take_from(built.dense, ids), len(ids), effort.seconds),
            median_us(plain_look_up(plain, ids), len(ids), effort.seconds * 2),
        )
        many_look_up = settled(built, held, many)
        (tail,) = measure_in_turn(
            effort.rounds, tail_us(many_look_up, len(many), effort.seconds * 2)
        )
    name = f"RAM {RAM_SHARE:.0%} + LMDB 100 %, {skew}, {size:,} keys"
    dense = "np.take of a dense table"
    rates, limits = keys_per_s(ours, size), keys_per_s(limit, size)
    tail_name = f"RAM {RAM_SHARE:.0%} + LMDB 100 %, {skew}, {BATCH_KEYS_MAX:,} keys: p99"
    return [
        make_figure(name, "keys/s", rates, anchor=dense, anchor_rounds=limits),
        times_as_fast(f"{name}: × {dense}", ours, limit, DENSE_GOAL),
        times_as_fast(f"{name}: × plain Python", ours, theirs, PLAIN_GOAL),
        make_figure(tail_name, "µs/batch", tail, goal=TAIL_GOAL),
    ]


def part_figures(
    built: Built, plain: PlainTiers, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """Over a store that was imported with LMDB for half of the rows.

    Args:
        plain: with RocksDB filled, and LMDB empty.
    """
    rows, skew, size = len(built.keys), SKEWS[0], BATCH_KEYS[-1]
    ids = draw_batches(skew, rows, size, dice, rows * DRAWS_PER_ROW)
    plain.fill_lmdb(*_hottest(ids, built.dense, LMDB_SHARE))
    plain.places = int(rows * RAM_SHARE)
    with opened(built.path, ram_bytes_for(int(rows * RAM_SHARE), ROW_BYTES)) as held:
        look_up = settled(built, held, ids)
        warm_up(plain_look_up(plain, ids), min(PLAIN_BATCHES, len(ids)))
        before = truth_lookups(held.table)
        ours, theirs = measure_in_turn(
            effort.rounds,
            median_us(look_up, len(ids), effort.seconds * 2),
            median_us(plain_look_up(plain, ids), len(ids), effort.seconds * 2),
        )
        asked, low = (
            after - at for after, at in zip(truth_lookups(held.table), before, strict=True)
        )
    name = f"RAM {RAM_SHARE:.0%} + LMDB {LMDB_SHARE:.0%} + RocksDB, {skew}, {size:,} keys"
    rates, anchor_rates = keys_per_s(ours, size), keys_per_s(theirs, size)
    return [
        make_figure(name, "keys/s", rates, anchor=ANCHOR, anchor_rounds=anchor_rates),
        times_as_fast(f"{name}: × plain Python", ours, theirs, PLAIN_GOAL),
        make_figure(f"{name}: keys that RocksDB was asked for", "of keys", [low / asked]),
    ]


def ram_bytes_for(places: int, row_bytes: int) -> int:
    """A budget that gives one table so many places in RAM."""
    return places // WAYS * bytes_per_set(row_bytes) * ABSENT_SHARE // (ABSENT_SHARE - 1)


def settled(built: Built, held: Opened, ids: Ints) -> Callable[[int], object]:
    """`Table.lookup` of a batch by its number, after passes over all until each row has a tier."""
    look_up = built.look_up(held.table, ids)
    moved = 0
    for number in range(PASSES_MAX):
        before, moved = moved, _passed(held, look_up, len(ids))
        if number + 1 >= PASSES and moved - before <= MOVED_MAX * len(built.keys):
            break
    return look_up


def _passed(held: Opened, look_up: Callable[[int], object], batches: int) -> int:
    """Look all batches up once; how many rows have moved into LMDB so far."""
    for at in range(batches):
        look_up(at)
        if at % 16 == 0:
            held.store.settle()  # else its queue is full, and what it drops never moves
    return held.store.statistics().moves.promoted


def warm_up(look_up: Callable[[int], object], batches: int) -> None:
    """Each of the first so many, once."""
    for at in range(batches):
        look_up(at)


def plain_look_up(plain: PlainTiers, ids: Ints) -> Callable[[int], object]:
    """Of a batch by its number."""
    keys = ids.astype(np.uint64)
    return lambda at: plain.look_up(keys[at])


def truth_lookups(table: Table) -> tuple[int, int]:
    """Keys looked up so far, and of those that RocksDB was asked for."""
    statistics = table.statistics()
    tiers = {tier.tier: tier.lookups for tier in statistics.tiers}
    return statistics.lookups, tiers["rocksdb"]


def _hottest(ids: Ints, dense: Floats, share: float) -> tuple[Keys, Floats]:
    counts = np.bincount(ids.ravel(), minlength=len(dense))
    hot = np.argsort(-counts, kind="stable")[: int(len(dense) * share)]
    return hot.astype(np.uint64), dense[hot]
