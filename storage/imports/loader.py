"""Loads a table version into both cold tiers, beside whatever is being served.

Nothing written here counts until the store's catalogue names it. A load that fails removes its
column family, named database and files; what one that was killed left, `repair` removes at the next
open. The warm tier is filled by a second thread while the first writes RocksDB's files.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import CorruptionError, StoreError
from sedp.storage.catalogue import Catalogue, Entry
from sedp.storage.imports.delta_loading import DeltaWriter
from sedp.storage.imports.progress import ImportProgress, ImportSource, is_resumable
from sedp.storage.imports.sorted_runs import Run, SortedRuns
from sedp.storage.lmdb.bucket_filler import BucketFiller
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.warm_version import WarmVersion
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.rows.bucket import BucketShape, keys_at
from sedp.storage.rows.record import seal
from sedp.storage.table_spec import TableSpec
from sedp.storage.tier import Keys

Chunks = Iterable[tuple[Keys, NDArray[Any]]]
Progress = Callable[[int], None]

NO_KEYS: Keys = np.empty(0, np.uint64)
SPARSENESS_MAX = 4  # keys of a dense table for each row: more, and its buckets are mostly empty

_log = logging.getLogger(__name__)


class Loader:
    """Writes versions into `truth` and `warm`; `folder` holds what it needs meanwhile.

    Args:
        warm_bytes: most that one version may take in the warm tier; a larger one is there in part.
    """

    def __init__(
        self, truth: RocksDatabase, warm: LmdbDatabase, folder: Path, warm_bytes: int
    ) -> None:
        self._truth = truth
        self._warm = warm
        self._folder = folder
        self._warm_bytes = warm_bytes

    def load(
        self,
        entry: Entry,
        chunks: Chunks | ImportSource,
        progress: Progress | None,
        base: RocksdbTier | None = None,
        removed: Keys = NO_KEYS,
    ) -> Entry:
        """Load all rows; returns the entry with their number.

        Of an entry that chains on another, only what is given is written.

        Cut off by a signal or a crash, the import of a source goes on where it was, next time.

        Args:
            base: a version whose rows come first, so that those of `chunks` go over them.
            removed: uint64[n], keys that have no row, whatever the base of the entry says.

        Raises:
            StoreError: a chunk does not fit the table, or the disk failed.
        """
        try:
            runs = self._sorted(entry.spec, chunks, base)
            if entry.base is None:
                entry = replace(entry, rows=self._write(entry, runs, progress))
            else:
                delta = DeltaWriter(self._truth, entry, entry.base, self._folder)
                entry = delta.write(runs, removed, progress)
        except BaseException as err:
            if isinstance(err, Exception):
                self._remove_folder()  # first, because to drop a version takes some disk too
            self._discard(entry.name)
            if isinstance(err, OSError):
                raise StoreError(f"import of {entry.spec.name!r} failed: {err}") from err
            raise
        self._remove_folder()
        return entry

    def _sorted(
        self, spec: TableSpec, chunks: Chunks | ImportSource, base: RocksdbTier | None
    ) -> SortedRuns:
        if isinstance(chunks, ImportSource) and base is None:
            return self._resumed(spec, chunks)
        self._remove_folder()
        self._folder.mkdir()
        runs = SortedRuns(self._folder, spec.row_bytes, spec.layout)
        with runs.filling():
            for part in () if base is None else base.scan():
                if part.corrupt:
                    raise CorruptionError(
                        f"table {spec.name!r}: {part.corrupt} rows of the version below are "
                        "damaged; import the table whole"
                    )
                runs.add(part.keys, part.rows)
        if isinstance(chunks, ImportSource):
            chunks = chunks.chunks_from(0)
        return self._added(runs, spec, chunks)

    def _resumed(self, spec: TableSpec, source: ImportSource) -> SortedRuns:
        start = ImportProgress.start(source, spec)
        kept = start.resumed(self._folder)
        if kept is start:
            self._remove_folder()
            self._folder.mkdir()

        def spilled(count: int, rows: int) -> None:
            replace(start, runs=count, rows=rows).write(self._folder)

        runs = SortedRuns(self._folder, spec.row_bytes, spec.layout, spilled)
        runs.resume(kept.runs)
        return self._added(runs, spec, source.chunks_from(kept.rows))

    def _added(self, runs: SortedRuns, spec: TableSpec, chunks: Chunks) -> SortedRuns:
        with runs.filling():
            for keys, rows in chunks:
                _check_chunk(spec, keys, rows)
                runs.add(np.ascontiguousarray(keys), spec.encode(rows))
        return runs

    def _write(self, entry: Entry, runs: SortedRuns, progress: Progress | None) -> int:
        spec, count, paths = entry.spec, 0, list[Path]()
        rows = runs.row_count
        if spec.layout == "dense":
            rows = _dense_rows(spec, runs)
        shape = self._shape(spec, rows)
        filler = BucketFiller(self._warm, entry.name, shape)
        self._truth.create(entry.name)
        with ThreadPoolExecutor(2, "sedp-import") as pool:
            filled: Future[None] = pool.submit(lambda: None)
            for places, block in _ahead(pool, runs.blocks()):
                keys = keys_at(places, spec.layout)
                records = seal(keys, block, 0, entry.seed)
                filled.result()
                if shape.layout == spec.layout:  # else placement brings up what is asked for
                    filled = pool.submit(filler.add, keys, places, records)
                paths.append(self._folder / f"{len(paths)}.sst")
                self._truth.write_file(paths[-1], places, records)
                count += len(keys)
                if progress is not None:
                    progress(count)
            filled.result()
        if paths:
            self._truth.ingest(entry.name, paths)
        filler.finish()
        self._warm.publish(entry.name, WarmVersion(shape, filler.rows))
        return count

    def _shape(self, spec: TableSpec, rows: int) -> BucketShape:
        """Buckets for so many rows, or for as many as the warm tier may hold of one version."""
        shape = BucketShape.for_rows(spec.row_bytes, spec.layout, rows)
        if shape.disk_bytes <= self._warm_bytes:
            return shape
        shape = BucketShape.for_rows(spec.row_bytes, "hashed", rows)
        bucket_bytes = shape.disk_bytes // shape.buckets
        return replace(shape, buckets=max(1, self._warm_bytes // bucket_bytes))

    def repair(self, catalogue: Catalogue) -> None:
        """Remove what the catalogue does not name, but for an import that can be resumed."""
        if not is_resumable(self._folder):
            self._remove_folder()
        self.clean(catalogue)

    def clean(self, catalogue: Catalogue) -> None:
        """Remove versions that are not in the catalogue, but for what others chain on."""
        served = {entry.name for entry in catalogue.entries}
        self._drop_all(self._warm.names() - served, self._warm.drop)
        self._drop_all(
            self._truth.names - {link.name for link in catalogue.links}, self._truth.drop
        )

    def rebuild(
        self, entry: Entry, truth: RocksdbTier, is_cancelled: Callable[[], bool]
    ) -> WarmVersion | None:
        """Fill the warm tier with a version that is whole in the truth; None if it did not.

        The caller publishes it, with what was updated meanwhile.
        A version that cannot be read whole is left to the truth alone, whose look-ups tell of the
        damage when they meet it; the rest of the store can be served.
        """
        if entry.name in self._warm.names():
            self._warm.drop(entry.name)
        rows = entry.rows
        if entry.spec.layout == "dense":
            rows = truth.places_below(SPARSENESS_MAX * rows)
        filler = BucketFiller(self._warm, entry.name, self._shape(entry.spec, rows))
        count = corrupt = 0
        for part in truth.scan_records():
            if filler.shape.layout == entry.spec.layout:
                places = part.places
                has_bucket = filler.shape.buckets_of(places) < np.uint64(filler.shape.buckets)
                keys = keys_at(places, entry.spec.layout)
                filler.add(keys[has_bucket], places[has_bucket], part.records[has_bucket])
            count += len(part.places)
            corrupt += part.corrupt
            if is_cancelled():
                return None
        if corrupt or count < entry.rows:
            self._warm.drop(entry.name)
            _log.error(
                "table %r version %d: RocksDB gives %d rows, the catalogue says %d, and %d are "
                "known to be damaged; import it again",
                entry.spec.name,
                entry.spec.version,
                count,
                entry.rows,
                corrupt,
            )
            return None
        filler.finish()
        return WarmVersion(filler.shape, filler.rows)

    def _discard(self, name: str) -> None:
        self._drop_all(self._warm.names() & {name}, self._warm.drop)
        self._drop_all(self._truth.names & {name}, self._truth.drop)

    def _drop_all(self, names: Iterable[str], drop: Callable[[str], None]) -> None:
        """What a full disk keeps from being removed is removed later."""
        for name in names:
            try:
                drop(name)
            except StoreError as err:
                _log.warning("%s; the next import or open removes %s", err, name)

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _ahead(pool: ThreadPoolExecutor, blocks: Iterator[Run]) -> Iterator[Run]:
    """The blocks, each made while the one before is used."""
    coming = pool.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = pool.submit(next, blocks, None)
        yield block


def _dense_rows(spec: TableSpec, runs: SortedRuns) -> int:
    """Buckets are needed up to the highest key."""
    if runs.row_count and runs.place_max >= SPARSENESS_MAX * runs.row_count:
        raise StoreError(
            f"import of {spec.name!r}: key {runs.place_max} with {runs.row_count} rows is too far "
            f"out for a dense table, whose keys stay below {SPARSENESS_MAX} times the rows; "
            'import it with layout "hashed"'
        )
    return runs.place_max + 1


def _check_chunk(spec: TableSpec, keys: Keys, rows: NDArray[Any]) -> None:
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
