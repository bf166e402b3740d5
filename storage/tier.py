"""The tier port: one place that holds rows of one table version, asked in batches.

Rows are opaque bytes here. A tier never serves a row whose checksum does not match, and `missing`
means only that this tier has no answer: the cascade in `table` decides what that is worth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    """

    tier: str
    lookups: int
    hits: int
    corrupt: int
    rows: int
    bytes: int


class Tier(ABC):
    """Safe for many threads at once."""

    @abstractmethod
    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        """Copy the rows this tier holds to where the caller wants them.

        Args:
            keys: uint64[n], in any order, repeats allowed.
            out: uint8[n, row_bytes], C-contiguous. Rows of missing keys are undefined.
            missing: bool[n], written in full.

        Returns:
            How many are missing, 0..n.

        Raises:
            CorruptionError: the tier holds the truth, and it is damaged.
        """

    @abstractmethod
    def statistics(self) -> TierStatistics: ...
