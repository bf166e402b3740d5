"""The RAM tier: the hottest rows of one table, or all of them, in memory of a fixed size.

A tier that was given all rows and evicted none is *resident*: what it has not does not exist. That
is known under the same lock as the rows, so no look-up takes one state for the other.
With rows of no bytes it is a set of keys; the cascade keeps the keys known to have no row in one.
A lock makes it safe for threads; a batch of 2,600 holds it for about 0.1 ms, without the GIL.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram_kernels import LINE_BYTES, WAYS, Lines, get_rows, put_rows
from sedp.storage.tier import Keys, Mask, Rows, Tier, TierStatistics

CACHE_REACH = 2  # sets a key may be in: a full cache searches them all for every key it has not
RESIDENT_REACH = 16  # at two places a row, 7 full sets in line are the most among 2 million rows


def bytes_per_set(row_bytes: int) -> int:
    """What one set of seven rows takes."""
    return LINE_BYTES + WAYS * row_bytes


class RamTier(Tier):
    """A cache of `7 * sets` rows; with 0 sets it holds nothing and every key is missing.

    Args:
        name: how it is called in statistics.
        row_bytes: 0 or more.
        sets: 0 or more.
        reach: sets a key may be in; `CACHE_REACH`, or `RESIDENT_REACH` if all rows shall stay.
    """

    def __init__(self, name: str, row_bytes: int, sets: int = 0, reach: int = CACHE_REACH) -> None:
        self._name = name
        self._row_bytes = row_bytes
        self._lock = threading.Lock()
        self._lookups = self._hits = 0
        self._install(reach, *self._allocated(sets))

    def _allocated(self, sets: int) -> tuple[Lines, Rows]:
        lines = _aligned(sets, LINE_BYTES).view(np.uint64)
        return lines, _aligned(sets * WAYS, self._row_bytes)

    def _install(self, reach: int, lines: Lines, rows: Rows) -> None:
        self._lines, self._rows, self._reach = lines, rows, reach
        self._held, self._is_resident = 0, False

    def resize(self, sets: int, reach: int = CACHE_REACH) -> None:
        """Give the tier another size; unless it is the same, the tier starts empty.

        The old memory is given back before the new is taken, so a budget holds throughout, and
        taking it (0.1 to 2 s a GiB) keeps no look-up waiting.
        """
        if (sets, reach) == (len(self._lines), self._reach):
            return
        with self._lock:
            self._install(reach, *self._allocated(0))
        fresh = self._allocated(sets)
        with self._lock:
            self._install(reach, *fresh)

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        return self.answer(keys, out, missing)[0]

    def answer(self, keys: Keys, out: Rows, missing: Mask) -> tuple[int, bool]:
        """As `get_many`, and whether this is final: no tier has a row of the missing keys."""
        with self._lock:
            count: int = get_rows(self._lines, self._rows, self._reach, keys, out, missing)
            self._lookups += len(keys)
            self._hits += len(keys) - count
            return count, self._is_resident

    def put_many(self, keys: Keys, rows: Rows) -> None:
        """Cache `rows` (uint8[n, row_bytes]) under `keys`; the later of two equal keys stays.

        A resident tier has them already, and is left as it is.
        """
        with self._lock:
            if not self._is_resident:
                self._held += put_rows(self._lines, self._rows, self._reach, keys, rows)

    def settle(self, rows: int) -> bool:
        """Be resident, until resized, if just so many rows are held: all that the table has."""
        with self._lock:
            self._is_resident = self._held == rows
            return self._is_resident

    @property
    def is_resident(self) -> bool:
        """All rows of the table are held."""
        return self._is_resident

    def statistics(self) -> TierStatistics:
        with self._lock:
            size = len(self._lines) * bytes_per_set(self._row_bytes)
            return TierStatistics(self._name, self._lookups, self._hits, 0, self._held, size)


def _aligned(rows: int, row_bytes: int) -> NDArray[np.uint8]:
    """Zeroed uint8[rows, row_bytes] that starts on a cache line, so that a set is never in two.

    Written to at once: left to the first look-ups, the system's clearing of huge pages made a
    batch of them wait 0.4 s.
    """
    size = rows * row_bytes
    memory = np.empty(size + LINE_BYTES if size else 0, dtype=np.uint8)
    memory.fill(0)
    skip = -memory.ctypes.data % LINE_BYTES if size else 0
    return memory[skip : skip + size].reshape(rows, row_bytes)
