"""How a table's hit ratio grows with the RAM it gets: small caches fed a sample of its accesses.

A sample of one key in 64 asks of a cache of a 64th the rows what the traffic asks of the whole
(Waldspurger, Saemundsson, Ahmad, Park: Cache modeling and optimization using miniature simulations,
ATC 2017). The small cache is the RAM tier itself, with rows of no bytes, so the curve follows
whatever policy that has.

Whether the few hottest keys are in the sample decides how many accesses it has, but hardly how many
misses: at any size worth asking about they hit. So misses are counted and set against the accesses
that the sample stands for, not against those it has (the correction of SHARDS-adj). The first half
of the accesses only warms the cache. Batches are scaled too: a row enters a cache only after the
batch that missed it. Keys without a row count as if they had one.

At the log's lowest rate, curves of a million ids (Zipf 0.9 to 1.2, and drifting) and of a real
trace were within a point of the full-size cache from 1 % to 50 % of the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.advice.access_log import AccessSample
from sedp.storage.ram.budget import PLACES_PER_ROW
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.tier import RamTier, bytes_per_set
from sedp.storage.tier import Keys

BATCH_KEYS_MIN = 32  # fewer would cost more time than they are worth
SIZES_PER_DOUBLING = 2
DOUBLINGS = 9  # the smallest cache has a row in 512


@dataclass(frozen=True, slots=True)
class HitCurve:
    """Hit ratios of one table's cache; ascending in all three arrays.

    Args:
        table: its name.
        table_rows: rows it has.
        row_bytes: bytes of one of them.
        lookups: of the table since its log began.
        rows: int64[p], rows the cache has places for.
        bytes: int64[p], what such a cache takes.
        ratios: float64[p], share of the look-ups that no tier below is asked for, 0..1.
        whole_bytes: with so many the table is resident, and every look-up hits; > 0.
    """

    table: str
    table_rows: int
    row_bytes: int
    lookups: int
    rows: NDArray[np.int64]
    bytes: NDArray[np.int64]
    ratios: NDArray[np.float64]
    whole_bytes: int

    def ratio_at(self, cache_bytes: float) -> float:
        """Hit ratio with so many bytes: straight between the sizes simulated, from 0 at none."""
        if cache_bytes >= self.whole_bytes:
            return 1.0
        return float(np.interp(cache_bytes, [0, *self.bytes], [0.0, *self.ratios]))

    def ratio_of(self, rows: int) -> float:
        """The same of a cache that has places for so many rows."""
        return float(np.interp(rows, [0, *self.rows], [0.0, *self.ratios]))

    def bytes_for(self, ratio: float) -> int:
        """The fewest bytes that reach a hit ratio of 0..1; `whole_bytes` if no cache does."""
        if len(self.ratios) == 0 or ratio > self.ratios[-1]:
            return self.whole_bytes
        at = int(np.searchsorted(self.ratios, ratio))
        low_bytes, low = (self.bytes[at - 1], self.ratios[at - 1]) if at else (0, 0.0)
        share = (ratio - low) / (self.ratios[at] - low) if ratio > low else 0.0
        return int(np.ceil(low_bytes + share * (self.bytes[at] - low_bytes)))


def usual_sizes(rows: int) -> list[int]:
    """Cache sizes in rows worth simulating for a table of so many."""
    steps = np.arange(DOUBLINGS * SIZES_PER_DOUBLING + 1)
    sizes = np.ceil(rows / 2.0 ** (steps / SIZES_PER_DOUBLING)).astype(np.int64)
    return [int(size) for size in np.unique(sizes) if size > 0]


def hit_curve(sample: AccessSample, sizes: Sequence[int] | None = None) -> HitCurve:
    """Simulate caches of several sizes; about 0.1 µs an access sampled and size.

    Args:
        sizes: rows to have places for, > 0; without them `usual_sizes` of the table. Each becomes
            the nearest that the sample's scale and the sets of seven ways allow, and those of
            `whole_bytes` or more are left out.

    Raises:
        StoreError: there are no accesses in the sample to learn from.
    """
    warm_time = (sample.first_time + sample.seen) // 2
    if sample.seen - warm_time < 1 or not len(sample.keys):
        raise StoreError(
            f"access log of table {sample.table!r} has {len(sample.keys)} accesses; serve on "
            "until it has some, and ask again"
        )
    per_set = bytes_per_set(sample.row_bytes)
    whole_sets = max(1, -(-sample.rows * PLACES_PER_ROW // WAYS))
    whole_bytes = whole_sets * bytes_per_set(sample.row_bytes, is_whole=True)
    wanted = usual_sizes(sample.rows) if sizes is None else sizes
    mini_sets = sorted({max(1, round(size * sample.rate / WAYS)) for size in wanted})
    mini_sets = [sets for sets in mini_sets if sets / sample.rate * per_set < whole_bytes]
    counted_from = int(np.searchsorted(sample.times, warm_time))
    expected = (sample.seen - warm_time) * sample.rate
    batch_keys = max(BATCH_KEYS_MIN, round(sample.seen / sample.batches * sample.rate))
    misses = [_misses(sample.keys, sets, batch_keys, counted_from) for sets in mini_sets]
    ratios = np.clip(1 - np.array(misses) / expected, 0.0, 1.0)
    sets = np.array([round(sets / sample.rate) for sets in mini_sets], dtype=np.int64)
    return HitCurve(
        sample.table,
        sample.rows,
        sample.row_bytes,
        sample.seen,
        sets * WAYS,
        sets * per_set,
        np.maximum.accumulate(ratios) if len(ratios) else ratios,
        whole_bytes,
    )


def _misses(keys: Keys, sets: int, batch_keys: int, counted_from: int) -> int:
    """Keys that a cascade would ask below for, from access `counted_from` on; once a batch each."""
    tier = RamTier("mini", 0, sets)
    rows, missing = np.empty((batch_keys, 0), np.uint8), np.empty(batch_keys, np.bool_)
    misses = 0
    for start in range(0, len(keys), batch_keys):
        batch = keys[start : start + batch_keys]
        if tier.get_many(batch, rows[: len(batch)], missing[: len(batch)]):
            unknown = np.unique(batch[missing[: len(batch)]])
            tier.put_many(unknown, rows[: len(unknown)])
            misses += len(unknown) if start >= counted_from else 0
    return misses
