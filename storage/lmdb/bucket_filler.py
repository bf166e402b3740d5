"""Fills the buckets of a version in the warm tier, from rows in the order of their places."""

from __future__ import annotations

import numpy as np

from sedp.storage.lmdb.bucket_writing import clear_buckets, fill_buckets
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.rows.bucket import BucketShape
from sedp.storage.tier import Keys, Rows

STEP_BYTES = 16 << 20  # of buckets made and committed at a time


class BucketFiller:
    """Writes to the version `name`, which is not served yet.

    Rows may come in parts that end anywhere: those of a bucket that may not be complete are kept
    back until the next part, or the end.
    """

    def __init__(self, database: LmdbDatabase, name: str, shape: BucketShape) -> None:
        self._database = database
        self._name = name
        self.shape = shape
        self._step = max(1, STEP_BYTES // shape.value_bytes)
        self._next = 0
        self._keys = np.empty(0, dtype=np.uint64)
        self._records = np.empty((0, shape.record_bytes), dtype=np.uint8)
        self._buckets = np.empty(0, dtype=np.int64)
        self.rows = 0  # that found a slot

    def add(self, keys: Keys, places: Keys, records: Rows) -> None:
        """Take rows whose places are above those before."""
        if len(keys) == 0:
            return
        buckets = self.shape.buckets_of(places).astype(np.int64)
        self._keys = np.concatenate([self._keys, keys])
        self._records = np.concatenate([self._records, records])
        self._buckets = np.concatenate([self._buckets, buckets])
        last = int(buckets[-1])
        self._write(last)
        kept = int(np.searchsorted(self._buckets, last))
        self._keys, self._records = self._keys[kept:], self._records[kept:]
        self._buckets = self._buckets[kept:]

    def finish(self) -> None:
        """Write what was kept back, and the empty buckets after it."""
        self._write(self.shape.buckets)

    def _write(self, end: int) -> None:
        """Make and commit all buckets below `end`."""
        shape = self.shape
        size = shape.slots, shape.tag_bytes, shape.slot_bytes, shape.is_dense
        while self._next < end:
            stop = min(self._next + self._step, end)
            values = np.empty((stop - self._next, shape.value_bytes), dtype=np.uint8)
            clear_buckets(values, *size)
            part = slice(*np.searchsorted(self._buckets, [self._next, stop]))
            at = self._buckets[part] - self._next
            left = fill_buckets(self._keys[part], self._records[part], at, *size, values)
            self.rows += len(at) - left
            self._database.append(self._name, self._next, values)
            self._next = stop
