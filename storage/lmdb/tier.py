"""One table version in the warm tier. Damage here costs time only: the truth is asked instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.address_reading import read_rows_at
from sedp.storage.lmdb.bucket_reading import PageNumbers, Positions, list_ranges, read_rows
from sedp.storage.lmdb.bucket_writer import BucketWriter
from sedp.storage.lmdb.bucket_writing import clear_unsound, list_keys, list_rows, merge_rows
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.page_fetch import blocks_read, fetch_ranges, is_cold
from sedp.storage.lmdb.snapshot import Snapshot
from sedp.storage.ram.mapping import let_go
from sedp.storage.rows.bucket import PAGE_BYTES, BucketShape, places_of
from sedp.storage.rows.record import TRAILER_BYTES
from sedp.storage.rows.scan import RecordSlice, check_records
from sedp.storage.tier import Keys, Mask, Rows, TierCounts, TierStatistics

_WANTED_MOST = 255  # a sketch counts to 15

Judge = Callable[[Keys], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Merged:
    """How many rows a merge added to those there, put out, and had no place for."""

    added: int
    evicted: int
    refused: int


class LmdbTier:
    """Reads the version of `entry`, whose buckets have the shape `shape`."""

    def __init__(self, database: LmdbDatabase, entry: Entry, shape: BucketShape) -> None:
        self._database = database
        self._entry = entry
        self._name = entry.name
        self.shape = shape
        self._counts = TierCounts()
        self.is_cold = True  # the last batch had to wait for the disk; of the first nobody knows

    @property
    def is_whole(self) -> bool:
        """All rows of the version have a slot, but for the few whose bucket is full."""
        need = BucketShape.for_rows(self.shape.row_bytes, self.shape.layout, self._entry.rows)
        return need.buckets <= self.shape.buckets

    def answer(
        self, keys: Keys, wanted: Positions, out: Rows, missing: Mask
    ) -> tuple[Positions, int]:
        """Copy the rows held of the keys at the positions `wanted`, and clear their `missing`.

        Args:
            keys: uint64[n].
            wanted: int64[m].
            out: uint8[n, row_bytes].
            missing: bool[n].

        Returns:
            int64[k], the positions answered; and how many of the others met with damage.
        """
        found = np.empty(len(wanted), dtype=np.int64)
        held = corrupt = 0
        blocks = blocks_read()
        with self._database.reading() as snapshot:
            if snapshot is not None:
                held, corrupt = self._read(snapshot, keys, wanted, out, missing, found)
        self.is_cold = is_cold(blocks_read() - blocks, len(wanted))
        self._counts.add_batch(len(wanted), held, corrupt)
        return found[:held], corrupt

    def _read(
        self,
        snapshot: Snapshot,
        keys: Keys,
        wanted: Positions,
        out: Rows,
        missing: Mask,
        found: Positions,
    ) -> tuple[int, int]:
        shape, seed = self.shape, self._entry.seed
        size = shape.slots, shape.tag_bytes, shape.slot_bytes, shape.is_dense
        table = snapshot.tables.get(self._name)
        if table is not None:
            if self.is_cold:
                self._fetch(table.pages, snapshot.base, keys, wanted)
            return read_rows(
                table.pages, snapshot.base, *size, seed, keys, wanted, out, missing, found
            )
        addresses = snapshot.addresses.get(self._name)
        if addresses is None:
            return 0, 0
        return read_rows_at(addresses, *size, seed, keys, wanted, out, missing, found)

    def _fetch(self, pages: PageNumbers, base: int, keys: Keys, wanted: Positions) -> None:
        """Have the disk read what a batch needs, all at once."""
        shape = self.shape
        size = shape.slots, shape.tag_bytes, shape.slot_bytes, shape.is_dense
        ranges = np.empty((len(wanted), 2), dtype=np.uint64)
        if not shape.is_dense:
            count = list_ranges(pages, base, *size, False, keys, wanted, ranges)
            fetch_ranges(ranges[:count])
        if shape.is_dense or shape.pages > 1:
            count = list_ranges(pages, base, *size, True, keys, wanted, ranges)
            fetch_ranges(ranges[:count])

    def merge(
        self,
        writer: BucketWriter,
        keys: Keys,
        records: Rows,
        judge: Judge | None,
        *,
        is_update: bool = False,
    ) -> Merged:
        """Put records of distinct keys into their buckets, over the row of the same key if any.

        Args:
            records: uint8[n, record_bytes].
            judge: how much keys, uint64[n], are asked for, uint8[n]: in a full bucket the least
                wanted row gives way; without it none does.
            is_update: they count as wanted most.
        """
        shape = self.shape
        buckets = shape.buckets_of(places_of(keys, shape.layout))
        has_place = buckets < np.uint64(shape.buckets)
        outside = len(keys) - int(np.count_nonzero(has_place))
        keys, records, buckets = keys[has_place], records[has_place], buckets[has_place]
        changed, at = np.unique(buckets, return_inverse=True)
        size = shape.slots, shape.tag_bytes, shape.slot_bytes, shape.is_dense
        values = writer.read(self._name, changed, shape.value_bytes)
        cleared = 0 if shape.is_dense else clear_unsound(*size[:3], values)
        heat, warmth = self._heat(values, keys, judge)
        if is_update and judge is not None:
            warmth = np.full(len(keys), _WANTED_MOST, np.uint8)
        added, evicted, refused = merge_rows(keys, records, at, warmth, *size, values, heat)
        writer.write(self._name, changed, values, added - cleared)
        return Merged(added, evicted + cleared, refused + outside)

    def _heat(
        self, values: Rows, keys: Keys, judge: Judge | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        shape = self.shape
        if judge is None:
            return np.zeros((len(values), shape.slots), np.uint8), np.zeros(len(keys), np.uint8)
        held = list_keys(values, shape.slots, shape.tag_bytes, shape.slot_bytes)
        return judge(held).reshape(len(values), shape.slots), judge(keys)

    def scan(self) -> Iterator[RecordSlice]:
        """All rows that hold, bucket by bucket."""
        shape, record_bytes = self.shape, self._entry.spec.row_bytes + TRAILER_BYTES
        first = 0
        for values in self._database.values(self._name):
            keys = np.empty(len(values) * shape.slots, dtype=np.uint64)
            records = np.empty((len(keys), record_bytes), dtype=np.uint8)
            size = shape.slots, shape.tag_bytes, shape.slot_bytes, shape.is_dense
            count, misplaced = list_rows(values, first, shape.buckets, *size, keys, records)
            first += len(values)
            part = check_records(keys[:count], records[:count], self._entry.seed)
            part = replace(part, corrupt=part.corrupt + misplaced)
            self._counts.add_corrupt(part.corrupt)
            yield part

    def let_go(self) -> None:
        """Have no pages at hand for now, as RAM answers; who reads them brings them in again."""
        with self._database.reading() as snapshot:
            if snapshot is not None and snapshot.base:
                let_go(snapshot.base, snapshot.file_pages * PAGE_BYTES)

    def statistics(self) -> TierStatistics:
        """A frozen snapshot."""
        return self._counts.statistics("lmdb", *self._database.size(self._name))
