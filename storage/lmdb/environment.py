"""The LMDB environment of the warm tier: its file, when it can be trusted, and who is using it.

All that is in it can be made again from RocksDB, so commits need not be on disk: a process that is
killed loses nothing, and after a power cut, which may leave half of a commit, the folder is thrown
away. So it is when the audit finds damage, before LMDB has followed a single page. The file is
never mapped for writing: a full disk would then kill the process. A file that is shortened or
replaced while it is open is noticed before every use, by its size and inode; only within the
microseconds between that look and the read could the end of the file still be met.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from sedp.errors import CorruptionError, StoreError
from sedp.storage.durable_file import write_durably
from sedp.storage.lmdb.audit import audit
from sedp.storage.lmdb.format import DamagedError, is_known_format, list_databases, read_metas
from sedp.storage.lmdb.pages import map_base
from sedp.storage.rows.bucket import PAGE_BYTES

NAMES_MAX = 1024  # databases in one environment: two versions of 512 tables
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
VERSIONS = "versions"
LOG = "log"
ANCHOR = b"!"  # among the versions, so that there is always a value to find the map by
MAP_BYTES = 1 << 40  # of addresses, not of memory or disk: never to be resized while in use
_DATA = "data.mdb"
_SESSION = "session"  # file with the boot that a writer runs in, or the commit it closed with
_CLOSED = b"closed "
_SMALL = {VERSIONS.encode(), LOG.encode()}
_TRIES = 5  # of a reader's audit, while the writer goes on

_log = logging.getLogger(__name__)


class GoneError(StoreError):
    """The file was shortened, replaced or deleted while it was open."""


class Environment:
    """The environment under `path`, for any thread.

    `base` is the address of page 0, and `pages` how many the file had when it was last used. In a
    file with `is_known_format` pages are read and audited in place; of others, which newer LMDBs
    write, only what its public API gives is used: `base` is 0, and damage to what is not rows is
    noticed only if LMDB does.

    Args:
        map_bytes: most that the file may take.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, path: Path, *, read_only: bool, map_bytes: int) -> None:
        self.path = path
        self.read_only = read_only
        self._data = path / _DATA
        self._map_bytes = map_bytes
        self._writing = threading.Lock()
        self._idle = threading.Condition()
        self._users = 0
        self.is_gone = self._is_closed = False
        self._open()

    def _open(self) -> None:
        try:
            try:
                self._check_session()
                self._open_sound()
            except (DamagedError, lmdb.InvalidError, lmdb.VersionMismatchError) as err:
                if self.read_only:
                    raise CorruptionError(f"warm tier {self.path} is damaged: {err}") from err
                _log.warning("warm tier %s is damaged and made anew: %s", self.path, err)
                shutil.rmtree(self.path)
                self._open_sound()
        except (lmdb.Error, OSError) as err:
            raise StoreError(
                f"warm tier {self.path} cannot be opened: {err}; one process may open a store once "
                "(share it), and a damaged folder may be deleted while the store is closed"
            ) from err

    def _session(self) -> bytes:
        session = self.path / _SESSION
        return session.read_bytes() if session.exists() else b""

    def _check_session(self) -> None:
        """Raises DamagedError: a writer had it open under a kernel that has gone since."""
        session = self._session()
        if session and not session.startswith(_CLOSED) and session != BOOT_ID.read_bytes():
            raise DamagedError("it was open for writing when the system went down")

    def _open_sound(self) -> None:
        """Raises DamagedError: LMDB must not see more of this file."""
        self.is_known_format = is_known_format(self._data)
        is_old = self._data.exists() and self._data.stat().st_size > 0
        if is_old and self.is_known_format:
            self._check_last_commit(read_metas(self._data)[1].number)
        self._environment = lmdb.open(
            str(self.path),
            map_size=self._map_bytes,
            readonly=self.read_only,
            readahead=False,
            sync=False,
            max_dbs=NAMES_MAX + 2,
        )
        try:
            if is_old and self.is_known_format:
                self._audit()
            elif is_old:
                self._check_last_commit(self._environment.info()["last_txnid"])
            self._start()
        except BaseException:
            self._environment.close()
            raise

    def _check_last_commit(self, number: int) -> None:
        session = self._session()
        is_right = session == _CLOSED + b"%d" % number or not session.startswith(_CLOSED)
        if not self.read_only and not is_right:
            raise DamagedError(f"the last commit is {number}, not the one it closed with")

    def _audit(self) -> None:
        for tries_left in reversed(range(_TRIES if self.read_only else 1)):
            with self._environment.begin() as transaction:
                try:
                    audit(self._data, transaction.id(), _SMALL, with_free=not self.read_only)
                    return
                except DamagedError:  # or the writer has gone on, and its meta pages with it
                    if not tries_left:
                        raise

    def _start(self) -> None:
        create = not self.read_only
        with self._environment.begin() as transaction:
            names = list_databases(transaction)
        self._handles = {
            name: self._environment.open_db(name.encode(), create=create)
            for name in names | {VERSIONS, LOG}
        }
        if create:
            self._environment.reader_check()  # free what killed processes were reading
            # Before LMDB writes anything, of which a part may be on disk after a power cut.
            write_durably(self.path / _SESSION, BOOT_ID.read_bytes())
            with self._environment.begin(write=True, db=self._handles[VERSIONS]) as transaction:
                transaction.put(ANCHOR, ANCHOR)
        with self._environment.begin(db=self._handles[VERSIONS], buffers=True) as transaction:
            anchor = transaction.get(ANCHOR)
            assert anchor is not None  # the writer puts it there first
            self.base = map_base(anchor) if self.is_known_format else 0
        found = self._data.stat()
        self._inode, self.pages = found.st_ino, found.st_size // PAGE_BYTES

    def is_there(self, pages: int) -> bool:
        """Whether the file is the one that was opened, and still has so many pages."""
        return self._count_pages(pages) > 0

    def _count_pages(self, pages: int) -> int:
        """How many the file has; 0 if it is another, or has less than `pages`."""
        try:
            found = os.stat(self._data)
        except OSError:
            found = None
        now = found.st_size // PAGE_BYTES if found and found.st_ino == self._inode else 0
        if now < pages and not self.is_gone:
            _log.error("warm tier %s was shortened or replaced while it was open", self.path)
            self.is_gone = True
        return 0 if self.is_gone else now

    @contextmanager
    def using(self) -> Iterator[Any]:
        """LMDB's own environment, which is not closed meanwhile.

        Raises:
            GoneError: its file is not what it was.
        """
        with self._idle:
            now = 0 if self._is_closed else self._count_pages(self.pages)
            if not now:
                raise GoneError(f"warm tier {self.path} was shortened or replaced; reopen it")
            self.pages = now
            self._users += 1
        try:
            yield self._environment
        except lmdb.PanicError as err:  # it could not write a meta page, and does nothing more
            self.is_gone = True
            raise GoneError(f"warm tier {self.path} has failed; reopen it: {err}") from err
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    @contextmanager
    def reading(self, name: str | None = None, *, buffers: bool = False) -> Iterator[Any]:
        """A short read transaction, on one named database or the main one."""
        with self.using() as environment:
            handle = self.handle(name) if name else None
            with environment.begin(db=handle, buffers=buffers) as transaction:
                yield transaction

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A write transaction, given up if this ends with an error.

        Raises:
            StoreError: the disk is full or has failed.
        """
        with self._changing() as opened, opened.begin(write=True, buffers=True) as transaction:
            yield transaction

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        try:
            with self.using() as environment, self._writing:
                yield environment
        except lmdb.Error as err:
            raise StoreError(
                f"warm tier {self.path} cannot be written: {err}; free some disk, then try again"
            ) from err

    def begin(self) -> Any:
        """A read transaction with buffers that may stay open; close it before the environment."""
        with self.using() as environment:
            return environment.begin(buffers=True)

    def last_commit(self) -> int:
        """Its number."""
        with self.using() as environment:
            return int(environment.info()["last_txnid"])

    def check_readers(self) -> None:
        """Free what processes that were killed were reading."""
        with self.using() as environment:
            environment.reader_check()

    def handle(self, name: str, *, create: bool = False) -> Any:
        """LMDB's handle of a named database; a new one cannot be made within a transaction."""
        with self._idle:
            handle = self._handles.get(name)
            if handle is None and len(self._handles) >= NAMES_MAX:
                raise StoreError(
                    f"store {self.path.parent} has {NAMES_MAX} table versions, which is the limit; "
                    "divide its tables over two stores"
                )
        if handle is None:
            with self._changing() as environment:
                handle = environment.open_db(name.encode(), create=create)
                self._handles[name] = handle
        return handle

    def forget(self, name: str) -> None:
        """The named database was dropped."""
        with self._idle:
            del self._handles[name]

    def overwrite(self, offset: int, data: bytes) -> None:
        """Put right what was damaged in the file; every mapping shows it at once."""
        with self._data.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def start_anew(self) -> None:
        """Open what is there now; the writer makes an empty one. All transactions must be over."""
        self._wait_for_users()
        self._environment.close()
        if not self.read_only:
            shutil.rmtree(self.path, ignore_errors=True)
        self._open()
        with self._idle:
            self._is_closed = self.is_gone = False

    def close(self) -> None:
        """Unmap; what is in the file is on disk then."""
        self._wait_for_users()
        number = self._environment.info()["last_txnid"] if self.is_there(self.pages) else 0
        try:
            if not self.read_only:
                self._environment.sync(True)
                if not self.is_gone:
                    write_durably(self.path / _SESSION, _CLOSED + b"%d" % number)
        except (lmdb.Error, OSError) as err:
            _log.warning("warm tier %s may not be on disk: %s", self.path, err)
        finally:
            self._environment.close()

    def _wait_for_users(self) -> None:
        with self._idle:
            self._is_closed = True
            self._idle.wait_for(lambda: self._users == 0)
