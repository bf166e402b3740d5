"""All records of a version, checked in bulk: what verification counts and what residency loads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sedp.storage.rows.record import TRAILER_BYTES, unseal
from sedp.storage.tier import Keys, Rows


@dataclass(frozen=True, slots=True)
class RecordSlice:
    """A few thousand records that follow each other.

    Args:
        keys: uint64[n] of the records that hold.
        rows: uint8[n, row_bytes], C-contiguous.
        corrupt: how many others there were, which do not match their checksum.
    """

    keys: Keys
    rows: Rows
    corrupt: int


def check_records(keys: Keys, records: Rows, seed: int) -> RecordSlice:
    """The rows of records, uint8[n, row_bytes + 8], sealed with `seed`."""
    rows = np.empty((len(keys), records.shape[1] - TRAILER_BYTES), dtype=np.uint8)
    missing = np.empty(len(keys), dtype=np.bool_)
    damaged = unseal(keys, keys, records, seed, rows, missing)
    if damaged:
        keys, rows = keys[~missing], rows[~missing]
    return RecordSlice(keys, rows, damaged)
