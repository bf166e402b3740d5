"""The warm tier's database: a named database of buckets a table version, and the update log.

A version is served from here once it is in `versions`, with the shape of its buckets. Look-ups read
from a snapshot that all threads share; whoever changes something asks for the next one with
`refresh`. What the audit of opening cannot see, in the pages of the buckets themselves, is put
right before LMDB comes by: see `bucket_writer`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from sedp.errors import StoreError
from sedp.storage.lmdb.bucket_writer import (
    EPOCH,
    FLOOR,
    BucketWriter,
    as_values,
    bucket_keys,
    mend_all,
    read_number,
)
from sedp.storage.lmdb.environment import (
    LOG,
    MAP_BYTES,
    VERSIONS,
    Environment,
    GoneError,
)
from sedp.storage.lmdb.format import list_databases
from sedp.storage.lmdb.snapshot import Snapshot
from sedp.storage.lmdb.update_log import ALL_CHANGED, Changes, collect
from sedp.storage.lmdb.warm_version import WarmVersion
from sedp.storage.tier import Rows

_SCAN_BUCKETS = 1024


class LmdbDatabase:
    """The database under `path`.

    Args:
        read_only: open beside the writer; `path` must exist.
        map_bytes: most that the file may take.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, path: Path, *, read_only: bool, map_bytes: int = MAP_BYTES) -> None:
        self._environment = Environment(path, read_only=read_only, map_bytes=map_bytes)
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._snapshot: Snapshot | None = self._fresh_snapshot(None)
        if not self._environment.read_only:
            for name in self.versions():  # cannot be opened within a transaction that needs them
                self._environment.handle(name)

    # Reading ----------------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """The file was shortened, replaced or deleted: nothing is served until `start_anew`."""
        return self._environment.is_gone

    @property
    def floor(self) -> int:
        """See `refresh`; of the present snapshot."""
        with self._lock:
            return 0 if self._snapshot is None else self._snapshot.floor

    @contextmanager
    def reading(self) -> Iterator[Snapshot | None]:
        """The present snapshot; None when there is none any more, or its file is gone."""
        with self._lock:
            snapshot = self._snapshot
            if snapshot is not None:
                snapshot.hold()
        try:
            is_there = snapshot is not None and self._environment.is_there(snapshot.file_pages)
            yield snapshot if is_there else None
        finally:
            if snapshot is not None:
                snapshot.release()

    def refresh(self, prepare: Callable[[int], None] | None = None) -> Changes:
        """Take up what was committed since, here or by the writer in another process.

        Args:
            prepare: called with the floor before anything new is seen: the epoch up to which the
                truth must be known, as rows changed until then may have left the warm tier.
        """
        with self._lock:
            before = self._snapshot
        try:
            if before is None or self._environment.last_commit() == before.number:
                return Changes()
            fresh = self._fresh_snapshot(before)
        except GoneError:
            return Changes()
        if prepare is not None:
            prepare(fresh.floor)
        with self._lock:
            self._snapshot = fresh
        before.release()
        return self.logged_since(before.log_end)

    def _fresh_snapshot(self, before: Snapshot | None) -> Snapshot:
        handle, log = self._environment.handle(VERSIONS), self._environment.handle(LOG)
        is_known = self._environment.is_known_format
        names = [] if is_known else list(self.versions())
        handles = {name: self._environment.handle(name) for name in names}  # before they are used
        transaction = self._environment.begin()
        snapshot = Snapshot(transaction, self._environment.base, self._environment.pages)
        snapshot.floor = read_number(transaction.get(FLOOR, db=handle))
        snapshot.epoch = read_number(transaction.get(EPOCH, db=handle))
        # Within it: a newer log would tell of rows that are not seen yet, and never again.
        snapshot.log_end = _last_entry(transaction.cursor(db=log))
        snapshot.versions = _versions(transaction, handle)
        shapes = {name: version.shape for name, version in snapshot.versions.items()}
        if is_known:
            trees = {name: bytes(transaction.get(name.encode(), b"")) for name in shapes}
            snapshot.fill(trees, shapes, before)
        else:
            snapshot.fill_slowly(handles, shapes)
        return snapshot

    def logged_since(self, number: int) -> Changes:
        """What the log says after an entry."""
        try:
            with self._environment.reading(LOG) as transaction:
                cursor = transaction.cursor()
                if not cursor.set_range((number + 1).to_bytes(8, "big")):
                    return Changes()
                numbers, entries = zip(*cursor.iternext(), strict=True)
        except GoneError:
            return ALL_CHANGED
        if int.from_bytes(numbers[0], "big") > number + 1:
            return ALL_CHANGED
        return collect(entries)

    def last_logged(self) -> int:
        """Number of the last entry; 0 before the first."""
        try:
            with self._environment.reading(LOG) as transaction:
                return _last_entry(transaction.cursor())
        except GoneError:
            return 0

    def epoch(self) -> int:
        """Up to which epoch of updates everything is in; 0 before the first."""
        try:
            with self._environment.reading(VERSIONS) as transaction:
                return read_number(transaction.get(EPOCH))
        except GoneError:
            return 0

    @property
    def epoch_seen(self) -> int:
        """The same of what look-ups see."""
        with self._lock:
            return 0 if self._snapshot is None else self._snapshot.epoch

    def size(self, name: str) -> tuple[int, int]:
        """Rows and bytes of a version as look-ups see it; zeros if it is not served from here.

        Nothing is waited for: an event loop may ask.
        """
        with self._lock:
            version = None if self._snapshot is None else self._snapshot.versions.get(name)
        return (0, 0) if version is None else (version.rows, version.shape.disk_bytes)

    def versions(self) -> dict[str, WarmVersion]:
        """Versions that are served from here."""
        try:
            with self._environment.reading() as transaction:
                return _versions(transaction, self._environment.handle(VERSIONS))
        except GoneError:
            return {}

    def names(self) -> set[str]:
        """Versions held, whole or not."""
        try:
            with self._environment.reading() as transaction:
                names = list_databases(transaction)
        except GoneError:
            return set()
        return names - {VERSIONS, LOG}

    def values(self, name: str) -> Iterator[Rows]:
        """All buckets of a version in order, uint8[m, value_bytes] at a time.

        Ends early, without a word, at a damaged page.
        """
        start = b""
        while True:
            try:
                with self._environment.reading(name) as transaction:
                    cursor = transaction.cursor()
                    found = cursor.set_range(start)
                    pairs = list(islice(cursor, _SCAN_BUCKETS)) if found else []
            except (lmdb.Error, StoreError):  # or dropped meanwhile
                return
            if not pairs:
                return
            joined = b"".join(value for _, value in pairs)
            yield np.frombuffer(joined, dtype=np.uint8).reshape(len(pairs), -1)
            start = pairs[-1][0] + b"\0"

    # Writing ----------------------------------------------------------------------------------

    def append(self, name: str, first: int, values: Rows) -> None:
        """Add buckets `first` and on, above those already there."""
        handle = self._environment.handle(name, create=True)
        keys = bucket_keys(np.arange(first, first + len(values), dtype=np.uint64))
        with self._environment.writing() as transaction:
            pairs = zip(keys, as_values(values), strict=True)
            transaction.cursor(db=handle).putmulti(pairs, append=True)

    def publish(self, name: str, version: WarmVersion) -> None:
        """From now on, also after a restart, the version is served from here."""
        self._environment.handle(name, create=True)
        with self._environment.writing() as transaction:
            handle = self._environment.handle(VERSIONS)
            transaction.put(name.encode(), version.encode(), db=handle)

    @contextmanager
    def updating(self) -> Iterator[BucketWriter]:
        """One commit of changes; none of them if this ends with an error."""
        with self._environment.writing() as transaction:
            yield BucketWriter(transaction, self._environment)

    def check_readers(self) -> None:
        """Free what processes that were killed were reading."""
        with suppress(GoneError):
            self._environment.check_readers()

    def drop(self, name: str) -> None:
        """Remove a version, whole or not."""
        handle = self._environment.handle(name, create=True)
        with self._environment.writing() as transaction:
            transaction.delete(name.encode(), db=self._environment.handle(VERSIONS))
            if self._environment.is_known_format:
                mend_all(transaction, self._environment, name)
            transaction.drop(handle)
        self._environment.forget(name)

    # Ends -------------------------------------------------------------------------------------

    def start_anew(self) -> None:
        """After the batches being read, open what is there now: for the writer, an empty database.

        Nothing that was known of the old one holds: every version must be looked for again. Not to
        be called beside `refresh`.

        Raises:
            StoreError: it cannot be opened; then it stays gone.
        """
        self._end_snapshot()
        self._environment.start_anew()
        self._begin()

    def close(self) -> None:
        """Unmap, after the batches being read; what is in the file is on disk then."""
        self._end_snapshot()
        self._environment.close()

    def _end_snapshot(self) -> None:
        with self._lock:
            snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            snapshot.release()
            snapshot.closed.wait()


def _versions(transaction: Any, handle: Any) -> dict[str, WarmVersion]:
    there = list_databases(transaction)
    pairs = (
        (bytes(name).decode(errors="replace"), data) for name, data in transaction.cursor(db=handle)
    )
    found = {name: WarmVersion.decode(bytes(data)) for name, data in pairs if name in there}
    return {name: version for name, version in found.items() if version is not None}


def _last_entry(log: Any) -> int:
    """Number of the last entry of a log, given its cursor; 0 before the first."""
    return int.from_bytes(log.key(), "big") if log.last() else 0
