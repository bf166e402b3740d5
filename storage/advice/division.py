"""What RAM is worth: the best division of a budget over the tables, and what other budgets bring.

A look-up asks RAM, then LMDB for what is missing there, then RocksDB, so what it costs is a
weighted sum of the tables' miss ratios. A cache's first bytes bring the most; where that holds
throughout (a concave curve), giving every piece of the budget to the table it helps most is the
best division there is (Fox: Discrete optimization via marginal analysis, 1966). Dents in a curve,
mostly noise, are bridged by its concave hull. A table whose rows are all in RAM hits always: that
last step is taken whole or not at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sedp.storage.advice.hit_curve import HitCurve

BUDGET_BYTES_MIN = 1 << 20
DOUBLING_GAIN_MIN = 0.01  # of the look-ups; a point
LMDB_OVERHEAD_BYTES = 20  # of a row on disk: key, checksum, and LMDB's own


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
        ram_bytes: of the budget.
        ram_ratio: share of its look-ups answered in RAM, 0..1.
        is_whole: all its rows are in RAM.
        lmdb_bytes: of LMDB's budget; 0 where that is not bounded.
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
    """A budget of RAM, divided.

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
    """The best division of the budget asked for, and of others.

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
    """Divide budgets of RAM over tables so that the mean look-up costs least.

    Args:
        curves: one a table, of logs of one period, since their look-ups are compared.
        ram_bytes: ≥ 0.
        lmdb_bytes: as much of LMDB as rows may take, hottest first, ≥ 0, taken to be no less than
            RAM; None: all rows are there.
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
    on_disk = [_on_disk(curve) for curve in curves]
    warm = None if lmdb_bytes is None else divide_bytes(on_disk, lmdb_bytes)
    needed = sum(curve.whole_bytes for curve in curves)
    budgets = [BUDGET_BYTES_MIN]
    while budgets[-1] < needed:
        budgets.append(2 * budgets[-1])
    divisions = tuple(_divide(curves, budget, warm, costs) for budget in budgets)
    return Advice(_divide(curves, ram_bytes, warm, costs), divisions, _recommended_bytes(divisions))


def _on_disk(curve: HitCurve) -> HitCurve:
    """What the rows of a cache take in LMDB, where no place is left empty."""
    record_bytes = curve.row_bytes + LMDB_OVERHEAD_BYTES
    inside = curve.rows < curve.table_rows
    return replace(
        curve,
        rows=curve.rows[inside],
        bytes=curve.rows[inside] * record_bytes,
        ratios=curve.ratios[inside],
        whole_bytes=max(1, curve.table_rows * record_bytes),
    )


def _recommended_bytes(divisions: Sequence[Division]) -> int:
    best = divisions[-1]
    for smaller in divisions[-2::-1]:
        if best.ram_ratio - smaller.ram_ratio >= DOUBLING_GAIN_MIN:
            break
        best = smaller
    return best.ram_bytes


def _divide(
    curves: Sequence[HitCurve], ram_bytes: int, warm: Sequence[int] | None, costs: TierCosts
) -> Division:
    given = divide_bytes(curves, ram_bytes)
    shares = tuple(
        _share(curves[at], given[at], None if warm is None else warm[at])
        for at in range(len(curves))
    )
    weights = np.array([curve.lookups for curve in curves], dtype=np.float64)
    weights /= max(weights.sum(), 1.0)
    ram_ratios = weights @ [share.ram_ratio for share in shares]
    lmdb_ratios = weights @ [share.lmdb_ratio for share in shares]
    ns = costs.ram_ns + (1 - lmdb_ratios) * costs.rocksdb_ns
    ns += (1 - ram_ratios) * costs.lmdb_ns if warm is None or any(warm) else 0.0
    return Division(ram_bytes, shares, float(ram_ratios), float(ns))


def _share(curve: HitCurve, ram_bytes: int, lmdb_bytes: int | None) -> TableShare:
    ram_ratio = curve.ratio_at(ram_bytes)
    lmdb_ratio = 1.0
    if lmdb_bytes is not None:
        lmdb_ratio = max(ram_ratio, _on_disk(curve).ratio_at(lmdb_bytes))
    return TableShare(
        curve.table,
        curve.lookups,
        ram_bytes,
        ram_ratio,
        ram_bytes >= curve.whole_bytes,
        lmdb_bytes or 0,
        lmdb_ratio,
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """One straight piece of a table's concave hull.

    Args:
        table: index of the curve.
        bytes: how wide it is, > 0.
        gain: look-ups it turns to hits, for a byte.
        is_last_step: it makes the table whole; a part of it brings nothing.
    """

    table: int
    bytes: int
    gain: float
    is_last_step: bool


def divide_bytes(curves: Sequence[HitCurve], budget_bytes: int) -> list[int]:
    """Bytes for each table that together make the most hits: the steepest pieces first.

    A table whose last step comes to its turn when it does not fit stays a cache: its other pieces,
    which are less steep, take their turns. So more bytes never make fewer hits.
    """
    caches_only = set[int]()
    while True:
        given, stuck = _fill(curves, budget_bytes, caches_only)
        if stuck is None:
            return given
        caches_only.add(stuck)


def _fill(
    curves: Sequence[HitCurve], budget_bytes: int, caches_only: set[int]
) -> tuple[list[int], int | None]:
    """Bytes for each table, or the one whose last step does not fit."""
    given, rest = [0] * len(curves), budget_bytes
    pieces = [
        piece
        for at, curve in enumerate(curves)
        for piece in _pieces(at, curve, can_be_whole=at not in caches_only)
    ]
    for piece in sorted(pieces, key=lambda piece: -piece.gain):
        if piece.bytes > rest and piece.is_last_step:
            return given, piece.table
        taken = min(piece.bytes, rest)
        given[piece.table] += taken
        rest -= taken
    return given, None


def _pieces(at: int, curve: HitCurve, *, can_be_whole: bool) -> Iterator[Piece]:
    points = [(0, 0.0), *zip(curve.bytes.tolist(), curve.ratios.tolist(), strict=True)]
    if can_be_whole:
        points.append((curve.whole_bytes, 1.0))
    hull = list[tuple[int, float]]()
    for point in points:
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], point):
            hull.pop()
        hull.append(point)
    for left, right in itertools.pairwise(hull):
        if right[1] > left[1]:
            yield Piece(
                at,
                right[0] - left[0],
                curve.lookups * _gain(left, right),
                right[0] == curve.whole_bytes,
            )


def _gain(left: tuple[int, float], right: tuple[int, float]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])
