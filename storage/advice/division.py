"""What RAM is worth: hit ratios and costs with a budget divided as the store will divide it.

A look-up asks RAM, then LMDB for what is missing there, then RocksDB, so what it costs is a
weighted sum of the tables' miss ratios. The division is that of `ram.budget`, by the bytes of the
tables and not by what they would gain: a table that becomes whole with a larger budget may leave
the others less than they had, so more RAM is not always better for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sedp.storage.advice.hit_curve import HitCurve
from sedp.storage.ram.budget import Share, divide
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.state import bytes_per_set
from sedp.storage.rows.bucket import BucketShape

BUDGET_BYTES_MIN = 1 << 20
DOUBLING_GAIN_MIN = 0.01  # of the look-ups; a point


@dataclass(frozen=True, slots=True)
class TierCosts:
    """Time of one key in each tier that is asked for it, in ns, ≥ 0.

    The defaults are what one core needs in batches of 2,600 keys with all data in memory; measure
    your own where RocksDB reads from a disk.
    """

    ram_ns: float = 20.0
    lmdb_ns: float = 150.0
    rocksdb_ns: float = 4000.0


@dataclass(frozen=True, slots=True)
class TableShare:
    """What one table gets.

    Args:
        table: its name.
        lookups: look-ups of its log, its weight.
        ram_bytes: of the budget, with those for keys known to have no row.
        ram_ratio: share of its look-ups answered in RAM, 0..1.
        is_whole: all its rows are in RAM.
        lmdb_bytes: what its current version takes in LMDB.
        lmdb_ratio: share of its look-ups answered in RAM or LMDB, 0..1.
    """

    table: str
    lookups: int
    ram_bytes: int
    ram_ratio: float
    is_whole: bool
    lmdb_bytes: int
    lmdb_ratio: float


@dataclass(frozen=True, slots=True)
class Division:
    """A budget of RAM, divided as the store does.

    Args:
        ram_bytes: the budget; the shares together never take more.
        shares: in the order the tables were given.
        ram_ratio: share of all look-ups answered in RAM, 0..1.
        ns_per_key: mean time of a look-up; as many µs for 1,000 keys.
    """

    ram_bytes: int
    shares: tuple[TableShare, ...]
    ram_ratio: float
    ns_per_key: float


@dataclass(frozen=True, slots=True)
class Advice:
    """The division of the budget asked for, and of others.

    Args:
        division: of the budget asked for.
        budgets: of 1 MiB, 2 MiB, … up to what holds all tables whole.
        recommended_bytes: the smallest of those budgets from which on no doubling gains a point.
    """

    division: Division
    budgets: tuple[Division, ...]
    recommended_bytes: int


def advise(
    curves: Sequence[HitCurve],
    ram_bytes: int,
    *,
    lmdb_bytes: int | None = None,
    costs: TierCosts | None = None,
) -> Advice:
    """What a store of these tables hits, and what its mean look-up costs, with budgets of RAM.

    Args:
        curves: one a table, of logs of one period, since their look-ups are compared.
        ram_bytes: ≥ 0; `store.ram` of a config.
        lmdb_bytes: most that one table version may take in LMDB, ≥ 0, as `store.lmdb` of a config;
            of larger ones the hottest rows are there. None: all rows are.
        costs: of the tiers; None: `TierCosts()`.

    Raises:
        ValueError: there are no curves, or a budget is negative.
    """
    if not curves or ram_bytes < 0 or (lmdb_bytes or 0) < 0:
        raise ValueError(
            f"advice for {len(curves)} tables, ram_bytes {ram_bytes}, lmdb_bytes {lmdb_bytes}: "
            "give at least one table, and budgets ≥ 0"
        )
    costs = costs or TierCosts()
    divisions = [_divide(curves, BUDGET_BYTES_MIN, lmdb_bytes, costs)]
    while not all(share.is_whole for share in divisions[-1].shares):
        divisions.append(_divide(curves, 2 * divisions[-1].ram_bytes, lmdb_bytes, costs))
    division = _divide(curves, ram_bytes, lmdb_bytes, costs)
    return Advice(division, tuple(divisions), _recommended_bytes(divisions))


def _recommended_bytes(divisions: Sequence[Division]) -> int:
    best = divisions[-1]
    for smaller in divisions[-2::-1]:
        if best.ram_ratio - smaller.ram_ratio >= DOUBLING_GAIN_MIN:
            break
        best = smaller
    return best.ram_bytes


def _divide(
    curves: Sequence[HitCurve], ram_bytes: int, lmdb_bytes: int | None, costs: TierCosts
) -> Division:
    given = divide(ram_bytes, [(curve.table_rows, curve.row_bytes) for curve in curves])
    shares = tuple(
        _share(curve, share, lmdb_bytes) for curve, share in zip(curves, given, strict=True)
    )
    weights = np.array([curve.lookups for curve in curves], dtype=np.float64)
    weights /= max(weights.sum(), 1.0)
    ram_ratios = weights @ [share.ram_ratio for share in shares]
    lmdb_ratios = weights @ [share.lmdb_ratio for share in shares]
    ns = costs.ram_ns + (1 - lmdb_ratios) * costs.rocksdb_ns
    ns += (1 - ram_ratios) * costs.lmdb_ns if lmdb_bytes != 0 else 0.0
    return Division(ram_bytes, shares, float(ram_ratios), float(ns))


def _share(curve: HitCurve, share: Share, lmdb_bytes: int | None) -> TableShare:
    row_bytes = share.row_sets * bytes_per_set(curve.row_bytes, share.is_whole)
    ram_ratio = 1.0 if share.is_whole else curve.ratio_of(share.row_sets * WAYS)
    warm_rows, warm_bytes = rows_in_lmdb(curve.table_rows, curve.row_bytes, lmdb_bytes)
    lmdb_ratio = 1.0 if warm_rows >= curve.table_rows else curve.ratio_of(warm_rows)
    return TableShare(
        curve.table,
        curve.lookups,
        row_bytes + share.absent_sets * bytes_per_set(0),
        ram_ratio,
        share.is_whole,
        warm_bytes,
        max(ram_ratio, lmdb_ratio),
    )


def rows_in_lmdb(rows: int, row_bytes: int, lmdb_bytes: int | None) -> tuple[int, int]:
    """How many rows of a table LMDB holds, and the bytes of its buckets.

    Tables count as hashed ones; a dense one takes less. A table that does not fit gets
    as many buckets as do, which fill up.

    Args:
        lmdb_bytes: most that they may take, ≥ 0; None: no limit.
    """
    shape = BucketShape.for_rows(row_bytes, "hashed", rows)
    if lmdb_bytes is None or shape.disk_bytes <= lmdb_bytes:
        return rows, shape.disk_bytes
    bucket_bytes = shape.disk_bytes // shape.buckets
    buckets = lmdb_bytes // bucket_bytes
    return min(rows, buckets * shape.slots), buckets * bucket_bytes
