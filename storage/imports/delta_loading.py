"""Writes a version that chains on a base: the truth takes up what a delta changed, and no more.

The warm tier gets such a version behind the look-ups, as one that it has lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sedp.storage.catalogue import Entry
from sedp.storage.imports.sorted_runs import SortedRuns
from sedp.storage.rocksdb.chain import removals_of
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.rows.bucket import keys_at, places_of
from sedp.storage.rows.record import seal
from sedp.storage.tier import Keys

REMOVED_TOGETHER = 1 << 16  # keys a batch of RocksDB


@dataclass(slots=True)
class DeltaWriter:
    """Fills the column family of `entry`, which chains on `base`.

    Args:
        folder: for files until they are taken in.
    """

    truth: RocksDatabase
    entry: Entry
    base: Entry
    folder: Path

    def write(
        self, runs: SortedRuns, removed: Keys, progress: Callable[[int], None] | None
    ) -> Entry:
        """Write changed rows, and that the keys `removed` have none unless they are among those.

        Returns:
            The entry with its rows, and how many records are its own.
        """
        self.truth.create(self.entry.name)
        written, added = self._write_rows(runs, progress)
        gone, lost = self._write_removals(np.unique(removed))
        # Updates of the base may have added rows, which its entry does not count.
        rows = max(self.base.rows + added - lost, written)
        return replace(self.entry, rows=rows, records=written + gone)

    def _write_rows(
        self, runs: SortedRuns, progress: Callable[[int], None] | None
    ) -> tuple[int, int]:
        """How many rows are written, and of how many the base has none."""
        count = added = 0
        paths = list[Path]()
        for places, block in runs.blocks():
            keys = keys_at(places, self.entry.spec.layout)
            added += len(keys) - self._held_by_base(keys)
            paths.append(self.folder / f"{len(paths)}.sst")
            self.truth.write_file(paths[-1], places, seal(keys, block, 0, self.entry.seed))
            count += len(keys)
            if progress is not None:
                progress(count)
        if paths:
            self.truth.ingest(self.entry.name, paths)
        return count, added

    def _write_removals(self, keys: Keys) -> tuple[int, int]:
        """How many are written, and how many rows of the base are lost by them."""
        own, count, lost = RocksdbTier(self.truth, self.entry), 0, 0
        for start in range(0, len(keys), REMOVED_TOGETHER):
            part = keys[start : start + REMOVED_TOGETHER]
            part = part[~own.has_own(part)]
            places = places_of(part, self.entry.spec.layout)
            records = removals_of(part, self.entry.seed)
            self.truth.write_rows([(self.entry.name, places, records)], sync=False)
            count += len(part)
            lost += self._held_by_base(part)
        return count, lost

    def _held_by_base(self, keys: Keys) -> int:
        rows = np.empty((len(keys), self.base.spec.row_bytes), np.uint8)
        missing = np.empty(len(keys), np.bool_)
        return len(keys) - RocksdbTier(self.truth, self.base).get_many(keys, rows, missing)
