"""The RAM tier: the hottest rows of one table, in memory of a fixed size.

With rows of no bytes it is a set of keys; the cascade keeps the keys known to have no row in one.
A lock makes it safe for threads; a batch of 2,600 holds it for about 0.1 ms, without the GIL.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram_kernels import LINE_BYTES, WAYS, Lines, get_rows, put_rows
from sedp.storage.tier import Keys, Mask, Rows, Tier, TierStatistics


def bytes_per_set(row_bytes: int) -> int:
    """What one set of seven rows takes."""
    return LINE_BYTES + WAYS * row_bytes


class RamTier(Tier):
    """A cache of `7 * sets` rows; with 0 sets it holds nothing and every key is missing.

    Args:
        name: how it is called in statistics.
        row_bytes: 0 or more.
        sets: 0 or more.
    """

    def __init__(self, name: str, row_bytes: int, sets: int = 0) -> None:
        self._name = name
        self._row_bytes = row_bytes
        self._lock = threading.Lock()
        self._lookups = self._hits = 0
        self._install(*self._allocated(sets))

    def _allocated(self, sets: int) -> tuple[Lines, Rows]:
        lines = _aligned(sets, LINE_BYTES).view(np.uint64)
        return lines, _aligned(sets * WAYS, self._row_bytes)

    def _install(self, lines: Lines, rows: Rows) -> None:
        self._lines, self._rows, self._held = lines, rows, 0

    def resize(self, sets: int) -> None:
        """Give the tier another size; unless it is the same, the tier starts empty.

        The old memory is given back before the new is taken, so a budget holds throughout, and
        taking it (0.1 to 2 s a GiB) keeps no look-up waiting.
        """
        if sets == len(self._lines):
            return
        with self._lock:
            self._install(*self._allocated(0))
        fresh = self._allocated(sets)
        with self._lock:
            self._install(*fresh)

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        with self._lock:
            count: int = get_rows(self._lines, self._rows, keys, out, missing)
            self._lookups += len(keys)
            self._hits += len(keys) - count
        return count

    def put_many(self, keys: Keys, rows: Rows) -> None:
        """Cache `rows` (uint8[n, row_bytes]) under `keys`; the later of two equal keys stays."""
        with self._lock:
            self._held += put_rows(self._lines, self._rows, keys, rows)

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
