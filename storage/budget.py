"""How one budget of RAM is divided over the tables: a pure function of their sizes.

Every table gets its share in proportion to the bytes all its rows would take in RAM. Of its share
an eighth goes to the keys known to have no row. No table takes more than three places a row: at
that, fewer than one row in 50,000 finds its two sets full, and more would only spread it thinner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sedp.storage.ram_kernels import LINE_BYTES, WAYS
from sedp.storage.ram_tier import bytes_per_set

PLACES_PER_ROW = 3
ABSENT_SHARE = 8  # one part in so many
_SETS_MAX = 1 << 32  # sets are numbered by 32 bits of the mixed key
_ALIGNMENT_BYTES = 4 * LINE_BYTES  # lost by the four arrays of a table to start on a cache line


@dataclass(frozen=True, slots=True)
class Share:
    """Sets of seven places for rows, and for keys without one."""

    row_sets: int
    absent_sets: int


NOTHING = Share(0, 0)


def divide(ram_bytes: int, tables: Sequence[tuple[int, int]]) -> list[Share]:
    """Shares of `ram_bytes` for tables given as (rows, row_bytes); together never more."""
    weights = [rows * bytes_per_set(row_bytes) for rows, row_bytes in tables]
    total = max(1, sum(weights))
    return [
        _share(max(0, ram_bytes * weight // total - _ALIGNMENT_BYTES), rows, row_bytes)
        for weight, (rows, row_bytes) in zip(weights, tables, strict=True)
    ]


def _share(share_bytes: int, rows: int, row_bytes: int) -> Share:
    sets_max = min(-(-rows * PLACES_PER_ROW // WAYS), _SETS_MAX)
    absent_sets = min(share_bytes // ABSENT_SHARE // bytes_per_set(0), sets_max)
    rest = share_bytes - absent_sets * bytes_per_set(0)
    return Share(min(rest // bytes_per_set(row_bytes), sets_max), absent_sets)
