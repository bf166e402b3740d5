"""Loads a table version into both cold tiers, beside whatever is being served.

Nothing written here counts until the store's catalogue names it. A load that fails removes its
column family, named database and files; what one that was killed left, `repair` removes at the next
open.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.catalogue import Catalogue, Entry
from sedp.storage.lmdb_database import LmdbDatabase
from sedp.storage.pairs import as_pairs
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.row_format import TRAILER_BYTES, seal
from sedp.storage.sorted_runs import SortedRuns
from sedp.storage.table import TableSpec
from sedp.storage.tier import Keys, Rows

Chunks = Iterable[tuple[Keys, NDArray[Any]]]
Progress = Callable[[int], None]

_REBUILD_ROWS = 1 << 18  # a transaction: few enough to hold its pages in memory

_log = logging.getLogger(__name__)


class Loader:
    """Writes versions into `truth` and `warm`; `folder` holds what it needs meanwhile."""

    def __init__(self, truth: RocksDatabase, warm: LmdbDatabase, folder: Path) -> None:
        self._truth = truth
        self._warm = warm
        self._folder = folder

    def load(self, entry: Entry, chunks: Chunks, progress: Progress | None) -> Entry:
        """Load all rows; returns the entry with their number.

        Raises:
            StoreError: a chunk does not fit the table, or the disk failed.
        """
        try:
            self._folder.mkdir()
            count = self._write(entry, self._sorted(entry.spec, chunks), progress)
        except BaseException as err:
            self._remove_folder()  # first, because to drop a version takes some disk too
            self.discard([entry.name])
            if isinstance(err, OSError):
                raise StoreError(f"import of {entry.spec.name!r} failed: {err}") from err
            raise
        self._remove_folder()
        return replace(entry, rows=count)

    def _sorted(self, spec: TableSpec, chunks: Chunks) -> SortedRuns:
        runs = SortedRuns(self._folder, spec.row_bytes)
        for keys, rows in chunks:
            _check_chunk(spec, keys, rows)
            runs.add(keys, np.ascontiguousarray(rows).view(np.uint8))
        return runs

    def _write(self, entry: Entry, runs: SortedRuns, progress: Progress | None) -> int:
        self._warm.reserve(runs.row_count, entry.spec.row_bytes + TRAILER_BYTES)
        self._truth.create(entry.name)
        count, paths = 0, list[Path]()
        for keys, rows in runs.blocks():
            records = seal(keys, rows, entry.spec.version, entry.seed)
            paths.append(self._folder / f"{len(paths)}.sst")
            self._truth.write_file(paths[-1], keys, records)
            count += self._warm.append(entry.name, as_pairs(keys, records))
            if progress is not None:
                progress(count)
        if paths:
            self._truth.ingest(entry.name, paths)
        self._warm.mark_complete(entry.name, count)
        return count

    def repair(self, catalogue: Catalogue) -> None:
        """Remove what the catalogue does not name, and fill the warm tier where it lacks a version.

        A version that cannot be read whole is left to the truth alone, whose look-ups tell of the
        damage when they meet it; the rest of the store can be served.
        """
        self._remove_folder()
        names = {entry.name for entry in catalogue.entries}
        self.discard((self._truth.names | self._warm.names()) - names)
        complete = self._warm.complete()
        for entry in catalogue.entries:
            if complete.get(entry.name) != entry.rows:
                self._rebuild(entry)

    def _rebuild(self, entry: Entry) -> None:
        self._warm.drop(entry.name)
        self._warm.reserve(entry.rows, entry.spec.row_bytes + TRAILER_BYTES)
        pairs, count = self._truth.scan(entry.name), 0
        while added := self._warm.append(entry.name, islice(pairs, _REBUILD_ROWS)):
            count += added
        if count == entry.rows:
            self._warm.mark_complete(entry.name, count)
            return
        self._warm.drop(entry.name)
        _log.error(
            "table %r version %d: RocksDB gives %d rows, the catalogue says %d; import it again",
            entry.spec.name,
            entry.spec.version,
            count,
            entry.rows,
        )

    def discard(self, names: Iterable[str]) -> None:
        """Remove versions from both tiers, as far as they are there.

        What a full disk keeps from being removed is removed at the next open.
        """
        for name in names:
            try:
                if name in self._warm.names():
                    self._warm.drop(name)
                if name in self._truth.names:
                    self._truth.drop(name)
            except StoreError as err:
                _log.warning("%s; the next open removes %s", err, name)

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _check_chunk(spec: TableSpec, keys: Keys, rows: Rows) -> None:
    if keys.dtype != np.uint64 or keys.ndim != 1:
        raise StoreError(
            f"import of {spec.name!r}: keys are {keys.dtype}{list(keys.shape)}; they must be "
            "uint64[n] (view int64 ids as uint64)"
        )
    if rows.dtype != spec.row_dtype or rows.shape != (len(keys), spec.dim):
        raise StoreError(
            f"import of {spec.name!r}: rows are {rows.dtype}{list(rows.shape)}; with "
            f"{len(keys)} keys they must be {spec.dtype}[{len(keys)}, {spec.dim}]"
        )
