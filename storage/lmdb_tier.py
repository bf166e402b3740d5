"""One table version in the warm tier. Damage here costs time only: the truth is asked instead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import lmdb
import numpy as np

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb_database import LmdbDatabase
from sedp.storage.pairs import join
from sedp.storage.record_scan import check_pairs
from sedp.storage.row_format import TRAILER_BYTES, unseal
from sedp.storage.tier import ColdTier, Keys, Mask, Rows, TierStatistics


class LmdbTier(ColdTier):
    """Reads the version of `entry`, which must be attached."""

    def __init__(self, database: LmdbDatabase, entry: Entry) -> None:
        self._database = database
        self._entry = entry
        self._record_bytes = entry.spec.row_bytes + TRAILER_BYTES
        self._lock = threading.Lock()
        self._lookups = self._hits = self._corrupt = 0

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        found, records, corrupt = self._read(keys)
        corrupt += unseal(keys, found, records, self._entry.seed, out, missing)
        count = int(np.count_nonzero(missing))
        with self._lock:
            self._lookups += len(keys)
            self._hits += len(keys) - count
            self._corrupt += corrupt
        return count

    def _read(self, keys: Keys) -> tuple[Keys, Rows | bytes, int]:
        """Keys held, their records, and how many keys met with damage."""
        try:
            return join(self._database.read(self._entry.name, keys), self._record_bytes)
        except lmdb.Error:
            return keys[:0], b"", len(keys)

    def scan(self) -> Iterator[tuple[Keys, Rows]]:
        pairs = self._database.scan(self._entry.name)
        for part in check_pairs(pairs, self._entry.spec.row_bytes, self._entry.seed):
            with self._lock:
                self._corrupt += part.corrupt
            yield part.keys, part.rows

    def statistics(self) -> TierStatistics:
        rows, size = self._database.size(self._entry.name)
        with self._lock:
            return TierStatistics("lmdb", self._lookups, self._hits, self._corrupt, rows, size)
