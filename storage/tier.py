"""What all tiers speak of: keys, rows as opaque bytes, which of them are missing, and counts.

A tier never serves a row whose checksum does not match, and `missing` means only that this tier has
no answer: the cascade in `tables.version` decides what that is worth.
"""

from __future__ import annotations

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
