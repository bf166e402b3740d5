"""The LMDB environment of the warm tier: mapped into memory, shared by a machine's processes.

It holds copies only, and is rebuilt from RocksDB when it, or the mark that a version is complete,
is not there. Never `writemap`: a full disk would then kill the process. Reads hold one transaction
a batch and never keep it, so old pages are freed. One lock serialises them, which costs nothing
(the work is done under the GIL) and keeps a resize or a drop from pulling the map from under one.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb

from sedp.errors import StoreError
from sedp.storage.pairs import KEY_BYTES, SLICE_ROWS, Pair, as_key_list
from sedp.storage.tier import Keys

VERSIONS_MAX = 1024  # named databases in one environment: two versions of 512 tables
_MAIN = ""  # holds the names of the others
_MARKS = "complete"  # version → row count, as text; no version is called so
_PAGE_BYTES = 4096
_PAGE_HEADER_BYTES = 16
_NODE_BYTES = 10 + KEY_BYTES  # header and pointer of a record, and its key
_NODE_BYTES_MAX = 2038  # a larger record goes to pages of its own
_SLACK_BYTES = 64 << 20  # free list, branch pages, and pages copied on write

_log = logging.getLogger(__name__)


class LmdbDatabase:
    """The environment under `path`; a version is one named database in it.

    Args:
        read_only: open beside the writer; `path` must exist.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handles: dict[str, Any] = {}
        try:
            self._environment = self._open(read_only)
        except lmdb.Error as err:
            raise StoreError(
                f"warm tier {path} cannot be opened: {err}; one process may open a store once "
                "(share it), and a damaged folder may be deleted while the store is closed"
            ) from err

    def _open(self, read_only: bool) -> Any:
        try:
            return self._open_environment(read_only)
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as err:
            if read_only:
                raise
            _log.warning("warm tier %s is damaged (%s): rebuilding it", self._path, err)
            shutil.rmtree(self._path)
            return self._open_environment(read_only)

    def _open_environment(self, read_only: bool) -> Any:
        environment = lmdb.open(
            str(self._path),
            map_size=0,  # as large as it already is; `reserve` grows it
            readonly=read_only,
            readahead=False,
            max_dbs=VERSIONS_MAX + 1,
        )
        if not read_only:
            environment.reader_check()  # free what killed processes were reading
        self._handles[_MAIN] = environment.open_db(None)
        self._handles[_MARKS] = environment.open_db(_MARKS.encode(), create=not read_only)
        return environment

    @contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        """A transaction on one named database, or None when that was dropped."""
        with self._lock:
            if name not in self._handles:
                yield None
                return
            try:
                transaction = self._environment.begin(db=self._handles[name])
            except lmdb.MapResizedError:  # by the writer, in another process
                self._environment.set_mapsize(0)
                transaction = self._environment.begin(db=self._handles[name])
            with transaction:
                yield transaction

    @contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        """A transaction that is on disk when it ends."""
        try:
            with self._environment.begin(write=True, db=self._handles[name]) as transaction:
                yield transaction
        except lmdb.Error as err:
            raise StoreError(
                f"warm tier {self._path} cannot be written: {err}; free some disk, then try again"
            ) from err

    def _handle(self, name: str, *, create: bool = False) -> Any:
        with self._lock:
            if name not in self._handles:
                if len(self._handles) >= VERSIONS_MAX:
                    raise StoreError(
                        f"store {self._path.parent} has {VERSIONS_MAX} table versions, which is "
                        "the limit; divide its tables over two stores"
                    )
                self._handles[name] = self._environment.open_db(name.encode(), create=create)
            return self._handles[name]

    def names(self) -> set[str]:
        """Versions held, whole or not."""
        with self._reading(_MAIN) as transaction:
            names = {name.decode() for name in transaction.cursor().iternext(values=False)}
        return names - {_MARKS}

    def complete(self) -> dict[str, int]:
        """Versions held whole, with their row counts."""
        with self._reading(_MARKS) as transaction:
            return {name.decode(): int(count) for name, count in transaction.cursor()}

    def attach(self, name: str) -> None:
        """Make a version that is held readable by `read`."""
        self._handle(name)

    def read(self, name: str, keys: Keys) -> list[Pair]:
        """Key and record of the keys held, in the order asked; none if `name` was dropped.

        Raises:
            lmdb.Error: the tree is damaged on the way to a key.
        """
        with self._reading(name) as transaction:
            if transaction is None:
                return []
            try:
                pairs: list[Pair] = transaction.cursor().getmulti(as_key_list(keys))
            except lmdb.BadDbiError:  # dropped by the writer, in another process
                return []
            return pairs

    def scan(self, name: str) -> Iterator[Pair]:
        """Every key and record, ascending; ends early, without a word, at a damaged page."""
        after = b""
        while pairs := self._slice(name, after):
            yield from pairs
            after = pairs[-1][0] + b"\0"

    def _slice(self, name: str, start: bytes) -> list[Pair]:
        with self._reading(name) as transaction:
            if transaction is None:
                return []
            try:
                cursor = transaction.cursor()
                return list(islice(cursor, SLICE_ROWS)) if cursor.set_range(start) else []
            except lmdb.Error:
                return []

    def size(self, name: str) -> tuple[int, int]:
        """Rows and bytes of a version; zeros if it was dropped."""
        with self._reading(name) as transaction:
            if transaction is None:
                return 0, 0
            try:
                stat = transaction.stat(self._handles[name])
            except lmdb.BadDbiError:  # dropped by the writer, in another process
                return 0, 0
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return stat["entries"], pages * stat["psize"]

    def reserve(self, rows: int, record_bytes: int) -> None:
        """Grow the map so that so many more records fit."""
        more = rows * _bytes_on_pages(record_bytes) * 11 // 10 + _SLACK_BYTES
        with self._lock:
            info = self._environment.info()
            used = (info["last_pgno"] + 1) * _PAGE_BYTES
            if used + more > info["map_size"]:
                self._environment.set_mapsize(used + more)

    def append(self, name: str, pairs: Iterable[Pair]) -> int:
        """Add keys and records, ascending and above those already there, in one transaction.

        Returns how many they were.
        """
        self._handle(name, create=True)
        with self._writing(name) as transaction:
            _, added = transaction.cursor().putmulti(pairs, append=True)
        return int(added)

    def mark_complete(self, name: str, rows: int) -> None:
        """From now on, also after a restart, the version is served from here."""
        self._handle(name, create=True)  # a table of no rows was never appended to
        with self._writing(_MARKS) as transaction:
            transaction.put(name.encode(), str(rows).encode())

    def drop(self, name: str) -> None:
        """Remove a version, whole or not."""
        handle = self._handle(name, create=True)
        with self._lock:
            with self._writing(_MARKS) as transaction:
                transaction.delete(name.encode())
                transaction.drop(handle)
            del self._handles[name]

    def close(self) -> None:
        """Unmap; waits for the batch being read."""
        with self._lock:
            self._handles.clear()
            self._environment.close()


def _bytes_on_pages(record_bytes: int) -> int:
    """Bytes one record takes when pages are filled one after the other."""
    node = _NODE_BYTES + record_bytes
    if node <= _NODE_BYTES_MAX:
        return _PAGE_BYTES // ((_PAGE_BYTES - _PAGE_HEADER_BYTES) // node)
    pages = -(-(_PAGE_HEADER_BYTES + record_bytes) // _PAGE_BYTES)
    return pages * _PAGE_BYTES + 2 * _NODE_BYTES
