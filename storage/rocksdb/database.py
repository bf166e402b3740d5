"""The RocksDB database of the truth: a column family a table version, and small values beside.

Rows come in as sorted files that are linked into the database in one step, and leave by dropping
their column family. Rows written later go through the log, several versions in one step. A write
is acknowledged after an fsync, and one fsync serves all the writes before it.

Any number of readers open the database beside its writer, and catch up with it when told.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, starmap
from pathlib import Path
from typing import Any, TypeVar

from rocksdict import Checkpoint, SstFileWriter, WriteBatch

from sedp.errors import StoreError
from sedp.storage.rocksdb import cursors
from sedp.storage.rocksdb.folder_lock import dropping
from sedp.storage.rocksdb.handles import Handles
from sedp.storage.rocksdb.health import WriteHealth
from sedp.storage.rocksdb.opening import CATALOGUE_KEY, translated, translation
from sedp.storage.rocksdb.options import (
    CACHE_BYTES,
    ingest_options,
    make_options,
    new_cache,
    scan_options,
    write_options,
)
from sedp.storage.rocksdb.reads import ReadPool
from sedp.storage.rocksdb.synced_mark import SyncedMark
from sedp.storage.rows.pairs import Pair, as_key_list, as_pairs
from sedp.storage.tier import Keys, Rows

Part = TypeVar("Part")
RowChanges = Sequence[tuple[str, Keys, Rows]]
SmallValues = Sequence[tuple[bytes, bytes | None]]


class RocksDatabase:
    """The database under `path`; safe for many threads at once.

    Args:
        read_only: open beside the writer, as it is now; `catch_up` shows later changes.
        create: make it when it is not there.
        cache_bytes: memory for blocks of the files.

    Raises:
        StoreError: it is not there, or open for writing elsewhere.
        CorruptionError: its files are damaged.
    """

    def __init__(
        self, path: Path, *, read_only: bool, create: bool, cache_bytes: int = CACHE_BYTES
    ) -> None:
        if not (path / "CURRENT").exists() and (read_only or not create):
            raise StoreError(
                f"store {path.parent} does not exist; create it with "
                f"`sedp store import {path.parent} NAME FILE`"
            )
        self._path = path
        self._is_read_only = read_only
        self._options = partial(make_options, new_cache(cache_bytes))
        self._handles = Handles(path, self._options, read_only=read_only)
        self._health = WriteHealth(path)
        self._synced = SyncedMark(path)
        self._written = 0  # number of the last write since the files were opened
        self._changing = threading.Lock()  # one change of the database at a time
        self._threads = ReadPool()

    @property
    def names(self) -> set[str]:
        """Of the versions there are."""
        return set(self._handles.opened.families)

    def read(self, name: str, keys: Keys) -> list[bytes | None]:
        """The record of every key, None where there is none.

        Raises:
            StoreError: the version was dropped, or the database is closed.
            CorruptionError: a block on the way does not match its checksum.
        """
        return [*chain(*self.read_parts(name, keys, lambda _, records: records))]

    def read_parts(
        self, name: str, keys: Keys, take: Callable[[slice, list[bytes | None]], Part]
    ) -> list[Part]:
        """What `take` makes of the records of `keys[part]`, for parts that make up all of them.

        It is called with `part` and the records by several threads at once. Keys are read faster
        in ascending order. Raises as `read`, and what `take` raises.
        """
        family = self._handles.acquire(name)

        def read_part(part: slice) -> Part:
            try:
                records = family.get(as_key_list(keys[part]))
            except Exception as err:
                raise translation(f"table version {name!r} not read", err) from err
            return take(part, records)

        try:
            return self._threads.map(read_part, len(keys))
        finally:
            self._handles.release()

    def scan(self, name: str, start: bytes | None = None) -> Iterator[Pair]:
        """Every key and record from `start` on, ascending; ends early, without a word, at damage.

        The version may not be dropped, nor the database closed, meanwhile.
        """
        with self._handles.scanning(name) as family:
            yield from family.items(from_key=start, read_opt=scan_options())

    def is_damaged_behind(self, name: str, key: bytes | None) -> bool:
        """Whether a scan ended with this key, or before the first, since it could not go on."""
        with self._handles.scanning(name) as family:
            return cursors.is_damaged_behind(family, key)

    def last_key(self, name: str, below: int) -> int | None:
        """The highest key of a version under a bound; None if there is none."""
        with self._handles.scanning(name) as family:
            return cursors.last_key(family, below)

    def get_meta(self, key: bytes) -> bytes | None:
        """The small value of a key as last written, or None."""
        with self._handles.using() as database, translated(f"store {self._path.parent}: not read"):
            value: bytes | None = database.get(key)
        return value

    def read_catalogue(self) -> bytes | None:
        """The catalogue as last written, or None in a new database."""
        return self.get_meta(CATALOGUE_KEY)

    def write_catalogue(self, catalogue: bytes) -> None:
        """Replace the catalogue; it is on disk when this returns."""
        self.put_meta([(CATALOGUE_KEY, catalogue)])

    def put_meta(self, pairs: SmallValues, *, sync: bool = True) -> None:
        """Write small values in one step; None deletes. Else as `write_rows`."""
        self.write_rows((), pairs, sync=sync)

    def write_rows(self, changes: RowChanges, extra: SmallValues = (), *, sync: bool) -> None:
        """Write records of several versions and small values, all or none.

        Args:
            changes: version, uint64[n] keys and uint8[n, record_bytes] records; of a key given
                twice the last counts.
            extra: small values by their keys; None deletes.
            sync: they are on disk when this returns; else a `flush_wal` puts them there. A process
                that is killed loses neither. Readers may see them before they are on disk.

        Raises:
            StoreError: they are not written, or nobody knows whether they are; a version was
                dropped, the disk is full, or writing has ended with a failure of the disk.
        """
        what = f"store {self._path.parent}: not written"
        with self._changing:
            self._make_writable()
            with self._handles.using() as database, translated(what):
                batch = self._batch(changes, extra)
                with self._health.noting():
                    database.write(batch, write_options())
                self._written = database.latest_sequence_number()
        if sync:
            self.flush_wal()

    def _batch(self, changes: RowChanges, extra: SmallValues) -> Any:
        batch = WriteBatch(raw_mode=True)
        for name, keys, records in changes:
            batch.set_default_column_family(self._handles.opened.column(name))
            deque(starmap(batch.__setitem__, as_pairs(keys, records)), maxlen=0)
        batch.set_default_column_family(None)
        for key, value in extra:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        return batch

    def flush_wal(self) -> None:
        """All that was written before is on disk when this returns.

        Raises:
            StoreError: nobody knows whether it is; writing has ended, unless the disk was full.
        """
        what, written = f"store {self._path.parent}: not brought to disk", self._written
        self._health.check()
        with self._handles.using() as database, translated(what), self._health.noting():
            database.flush_wal(True)
        self._synced.put(written)

    def _make_writable(self) -> None:
        """After a full disk RocksDB may refuse to write for good, so open its files anew."""
        if self._is_read_only:
            raise StoreError(f"store {self._path.parent} is open read-only; open it for writing")
        self._health.check()
        if self._health.is_full:
            self._health.check_room()
            self._handles.reopen()
            self._written = 0  # what was not synced may be lost
            self._health.is_full = False

    @contextmanager
    def _changes(self, what: str) -> Iterator[None]:
        """Versions change inside; should the disk be full, the next change has to know."""
        with translated(what), self._health.noting(ends_writing=False):
            yield

    def create(self, name: str) -> None:
        """Add an empty version."""
        what = f"store {self._path.parent}: version not created"
        with self._changing:
            self._make_writable()
            with self._handles.using() as database, self._changes(what):
                family = database.create_column_family(name, self._options())
                self._handles.opened.families[name] = family

    def write_file(self, path: Path, keys: Keys, records: Rows) -> None:
        """Write records with ascending, distinct keys to a file that `ingest` can take."""
        with translated(f"import file {path} not written"):
            writer = SstFileWriter(self._options())
            writer.open(str(path))
            deque(starmap(writer.__setitem__, as_pairs(keys, records)), maxlen=0)
            writer.finish()

    def ingest(self, name: str, paths: list[Path]) -> None:
        """Move files with disjoint ranges of keys into a version, all or none."""
        what = f"store {self._path.parent}: import not taken in"
        with self._changing:
            self._make_writable()
            with self._handles.using(name) as family, self._changes(what):
                family.ingest_external_file([str(path) for path in paths], ingest_options())

    def drop(self, name: str) -> None:
        """Remove a version and its files, unless a reader is opening them for too long."""
        changes = self._changes(f"store {self._path.parent}: version not removed")
        with dropping(self._path), self._changing, self._handles.using() as database, changes:
            # The handle goes first: on a full disk the drop works and yet raises.
            self._handles.opened.forget(name)
            database.drop_column_family(name)

    def catch_up(self) -> None:
        """Show a reader what was written until now, new versions too; look-ups go on meanwhile.

        A writer sees all at once, and has nothing to catch up with.

        Raises:
            StoreError: the files cannot be read, or change all the time; what is shown stays.
        """
        with self._changing:
            if self._is_read_only:
                self._handles.catch_up()

    def forget_dropped(self) -> None:
        """A reader knows what has been dropped, and will not ask for it again."""
        self._handles.forget_dropped()

    def checkpoint(self, folder: Path) -> None:
        """Make `folder`, which must not be there, a database of its own with all that is in this.

        Files are linked, not copied, if it is on the same disk.
        """
        what = f"store {self._path.parent}: no checkpoint made at {folder}"
        with self._changing, self._handles.using() as database, translated(what):
            Checkpoint(database).create_checkpoint(str(folder))

    def close(self) -> None:
        """Refuse further use, wait for what is under way, and give up the lock.

        Raises:
            StoreError: what was written without a sync may not be on disk; it is closed though.
        """
        try:
            if not self._is_read_only and self._handles.opened.is_open and self._health.is_sound:
                self.flush_wal()
        finally:
            with self._changing:
                self._handles.close()
            self._threads.close()

    def bytes(self, name: str) -> int | None:
        """Size of a version's files, 0 if it was dropped; None while they are being opened anew."""
        try:
            family = self._handles.acquire_now(name)
        except StoreError:
            return 0
        if family is None:
            return None
        try:
            return int(family.property_int_value("rocksdb.total-sst-files-size"))
        finally:
            self._handles.release()
