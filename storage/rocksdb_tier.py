"""One table version in the truth. What it does not have does not exist; damage here is an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from sedp.errors import CorruptionError
from sedp.storage.catalogue import Entry
from sedp.storage.pairs import join_found
from sedp.storage.record_scan import check_pairs
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.row_format import TRAILER_BYTES, unseal
from sedp.storage.tier import ColdTier, Keys, Mask, Rows, TierStatistics


class RocksdbTier(ColdTier):
    """Reads the version of `entry`."""

    def __init__(self, database: RocksDatabase, entry: Entry) -> None:
        self._database = database
        self._entry = entry
        self._record_bytes = entry.spec.row_bytes + TRAILER_BYTES
        self._lock = threading.Lock()
        self._lookups = self._hits = self._corrupt = 0

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        records = self._database.read(self._entry.name, keys)
        found, joined, corrupt = join_found(records, self._record_bytes)
        corrupt += unseal(keys, keys[found], joined, self._entry.seed, out, missing)
        count = int(np.count_nonzero(missing))
        with self._lock:
            self._lookups += len(keys)
            self._hits += len(keys) - count
            self._corrupt += corrupt
        if corrupt:
            spec = self._entry.spec
            raise CorruptionError(
                f"table {spec.name!r} version {spec.version}: {corrupt} of {len(keys)} rows "
                "asked of RocksDB do not match their checksums; import the table again"
            )
        return count

    def scan(self) -> Iterator[tuple[Keys, Rows]]:
        pairs = self._database.scan(self._entry.name)
        for part in check_pairs(pairs, self._entry.spec.row_bytes, self._entry.seed):
            with self._lock:
                self._corrupt += part.corrupt
            yield part.keys, part.rows

    def statistics(self) -> TierStatistics:
        size = self._database.bytes(self._entry.name)
        with self._lock:
            return TierStatistics(
                "rocksdb", self._lookups, self._hits, self._corrupt, self._entry.rows, size
            )
