"""What all tiers speak of: keys, rows as opaque bytes, which of them are missing, and counts.

A tier never serves a row whose checksum does not match, and `missing` means only that this tier has
no answer: the cascade in `tables.version` decides what that is worth.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Rows = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TierStatistics:
    """What one tier did for one table version since the store was opened.

    Args:
        tier: "ram", "absent" (RAM's list of keys known to have no row), "lmdb" or "rocksdb".
        lookups: keys asked for.
        hits: keys answered.
        corrupt: rows refused because their checksum did not match.
        rows: rows held now.
        bytes: bytes they take in memory or on disk, with their overhead.
        batches: requests that came to it, with some of their keys or all.
        whole_batches: those of which it answered every key it was asked for.
        age: of a cache in RAM, how many rows were offered to it since the median row that it holds
            was last asked for; 0 of other tiers, which keep no such account.
    """

    tier: str
    lookups: int
    hits: int
    corrupt: int
    rows: int
    bytes: int
    batches: int
    whole_batches: int
    age: int


class TierCounts:
    """What a tier was asked and what it answered; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups = self._hits = self._corrupt = self._batches = self._whole_batches = 0

    def add_batch(self, keys: int, hits: int, corrupt: int = 0) -> None:
        """One request was answered."""
        with self._lock:
            self._lookups += keys
            self._hits += hits
            self._corrupt += corrupt
            self._batches += 1
            self._whole_batches += hits == keys

    def add_corrupt(self, count: int) -> None:
        """Damaged rows that nobody asked for by their keys."""
        with self._lock:
            self._corrupt += count

    def statistics(self, tier: str, rows: int, size: int, age: int = 0) -> TierStatistics:
        """A frozen snapshot of a tier that holds so many rows and bytes now."""
        with self._lock:
            asked = self._lookups, self._hits, self._corrupt
            return TierStatistics(tier, *asked, rows, size, self._batches, self._whole_batches, age)
