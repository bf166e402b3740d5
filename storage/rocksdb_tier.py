"""One table version in the truth. What it does not have does not exist; damage here is an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sedp.errors import CorruptionError
from sedp.storage.bucket import keys_at, places_of
from sedp.storage.catalogue import Entry
from sedp.storage.pairs import join_found, join_slices
from sedp.storage.record_scan import RecordSlice, check_records
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.row_format import TRAILER_BYTES, unseal
from sedp.storage.tier import Keys, Mask, Rows, TierStatistics


class RocksdbTier:
    """Reads the version of `entry`, whose rows are filed under the places of their keys."""

    def __init__(self, database: RocksDatabase, entry: Entry) -> None:
        self._database = database
        self._entry = entry
        self._name = entry.name
        self._record_bytes = entry.spec.row_bytes + TRAILER_BYTES
        self._lock = threading.Lock()
        self._lookups = self._hits = self._corrupt = self._bytes = 0

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        """Copy the rows of keys to where the caller wants them.

        Args:
            keys: uint64[n], repeats allowed; ascending is faster.
            out: uint8[n, row_bytes]. Rows of missing keys keep what they held.
            missing: bool[n], written in full.

        Returns:
            How many are missing, 0..n.

        Raises:
            CorruptionError: the truth is damaged.
        """

        def take(part: slice, records: list[bytes | None]) -> int:
            found, joined, misshapen = join_found(records, self._record_bytes)
            wanted = keys[part]
            is_complete = len(joined) == self._record_bytes * len(wanted)
            held = wanted if is_complete else wanted[found]
            return misshapen + unseal(
                wanted, held, joined, self._entry.seed, out[part], missing[part]
            )

        places = places_of(keys, self._entry.spec.layout)
        corrupt = sum(self._database.read_parts(self._name, places, take))
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

    def read_records(self, keys: Keys) -> tuple[Keys, Rows]:
        """Those of the distinct keys that have a record, and the records as they are stored."""
        places = places_of(keys, self._entry.spec.layout)
        records = self._database.read(self._name, places)
        found, joined, _ = join_found(records, self._record_bytes)
        table = np.frombuffer(joined, dtype=np.uint8).reshape(-1, self._record_bytes)
        return keys[found], table

    def scan_records(self) -> Iterator[tuple[Keys, Keys, Rows]]:
        """Places, keys and records of the version in the order of places, unchecked."""
        for places, records, _ in self._slices():
            yield places, keys_at(places, self._entry.spec.layout), records

    def _slices(self) -> Iterator[tuple[Keys, Rows, int]]:
        return join_slices(self._database.scan(self._name), self._record_bytes)

    def places_below(self, bound: int) -> int:
        """How many places there are up to the last one taken under a bound."""
        last = self._database.last_key(self._name, bound)
        return 0 if last is None else last + 1

    def scan(self) -> Iterator[RecordSlice]:
        """All rows that hold, in slices of a few thousand; ends early at a damaged block.

        The version may not be dropped meanwhile.
        """
        for places, records, misshapen in self._slices():
            keys = keys_at(places, self._entry.spec.layout)
            part = check_records(keys, records, self._entry.seed)
            part = replace(part, corrupt=part.corrupt + misshapen)
            with self._lock:
                self._corrupt += part.corrupt
            yield part

    def statistics(self) -> TierStatistics:
        """A frozen snapshot; nothing is waited for, so that an event loop may ask."""
        size = self._database.bytes(self._name)
        with self._lock:
            if size is not None:
                self._bytes = size
            counts = self._lookups, self._hits, self._corrupt
            return TierStatistics("rocksdb", *counts, self._entry.rows, self._bytes)
