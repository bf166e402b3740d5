"""How one budget of RAM is divided over the tables: a pure function of their sizes.

A table is resident if its part, were the budget divided evenly, takes all its rows at two places a
row; what it needs less than that part goes to the others, so the smallest tables come first. At two
places no row is evicted, and nine in ten searches end in the first set: a third place a row would
only keep another table out. In RAM that processes share it is eight places for seven rows: look-ups
are 4 % slower, and no more than a seventh may be added by updates.

The tables left over are caches. They get the rest in proportion to the bytes all their rows would
take, an eighth of it for the keys known to have no row, which a resident table need not remember.
What caches get may be changed while they serve; which tables are whole stays as the budget had it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sedp.storage.ram.line import LINE_BYTES, WAYS
from sedp.storage.ram.state import bytes_per_set

PLACES_PER_ROW = 2
SHARED_PLACES_PER_ROW = Fraction(8, 7)
ABSENT_SHARE = 8  # one part in so many
_SETS_MAX = 1 << 32  # sets are numbered by 32 bits of the mixed key
_ALIGNMENT_BYTES = 5 * LINE_BYTES  # lost by the five arrays of a table to start on a cache line


@dataclass(frozen=True, slots=True)
class Share:
    """Sets of seven places for rows, and for keys without one.

    Args:
        is_whole: all rows of the table have a place, with room to spare.
    """

    row_sets: int
    absent_sets: int
    is_whole: bool = False


NOTHING = Share(0, 0)


def divide(
    ram_bytes: int,
    tables: Sequence[tuple[int, int]],
    places_per_row: Fraction | int = PLACES_PER_ROW,
    extra_bytes: int = 0,
) -> list[Share]:
    """Shares of `ram_bytes` for tables given as (rows, row_bytes); together never more.

    Args:
        places_per_row: of a table that is whole; above 1.
        extra_bytes: that caches get besides, together; negative if they get less.
    """
    shares = [NOTHING] * len(tables)
    sets = [_sets_needed(rows, places_per_row) for rows, _ in tables]
    needs = [_bytes_needed(count, size) for count, (_, size) in zip(sets, tables, strict=True)]
    waiting = sorted(range(len(tables)), key=needs.__getitem__)
    while waiting and needs[waiting[0]] <= ram_bytes // len(waiting):
        at = waiting.pop(0)
        shares[at] = Share(sets[at], 0, is_whole=True)
        ram_bytes -= needs[at]
    total = sum(needs[at] for at in waiting)
    cache_bytes = min(max(0, ram_bytes + extra_bytes), total)
    for at in waiting:
        shares[at] = _cache(cache_bytes * needs[at] // total - _ALIGNMENT_BYTES, tables[at][1])
    return shares


def _sets_needed(rows: int, places_per_row: Fraction | int) -> int:
    return min(math.ceil(rows * places_per_row / WAYS), _SETS_MAX)


def _bytes_needed(sets: int, row_bytes: int) -> int:
    return sets * bytes_per_set(row_bytes, is_whole=True) + _ALIGNMENT_BYTES


def _cache(share_bytes: int, row_bytes: int) -> Share:
    """A share that is no more than the table needs: it need not be bounded by its rows."""
    share_bytes = max(0, share_bytes)
    absent_sets = min(share_bytes // ABSENT_SHARE // bytes_per_set(0), _SETS_MAX)
    rest = share_bytes - absent_sets * bytes_per_set(0)
    return Share(min(rest // bytes_per_set(row_bytes), _SETS_MAX), absent_sets)
