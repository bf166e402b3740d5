"""The handles of a RocksDB database, counted while in use, and exchanged for new ones.

Two things want the files opened anew while look-ups go on. A writer whose disk was full may be
refused for good. And a reader is shown what is added to the log, but not new column families; rows
that the writer moved from its log into a file it may even hide behind older ones. So where files
have changed, it opens them again. To close a handle in use is an error: an exchange lets those who
are at it finish, and newcomers wait.

The files that a reader opens anew may lack families that the catalogue it goes by still names. So
the handles from before stay open until it has taken up another catalogue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sedp.errors import StoreError
from sedp.storage.rocksdb.opening import (
    DEFAULT_FAMILY,
    Opened,
    files_mark,
    open_follower,
    open_writer,
    translated,
)

_CATCH_UP_TRIES = 20  # of a reader beside a writer that imports all the time


class Handles:
    """Those of the database under `path`.

    Args:
        make_options: for the database and each of its families.
        read_only: open beside the writer.

    Raises:
        StoreError: it is not there, or open for writing elsewhere.
        CorruptionError: its files are damaged.
    """

    def __init__(self, path: Path, make_options: Callable[[], Any], *, read_only: bool) -> None:
        self._path = path
        self._make_options = make_options
        self._folder = (
            TemporaryDirectory(prefix="sedp-reader-", ignore_cleanup_errors=True)
            if read_only
            else None
        )
        self._openings = 0
        self._idle = threading.Condition()
        self._users = self._scans = 0
        self._is_exchanging = False
        self._outdated: Opened | None = None  # a reader's, with families that are gone since
        try:
            self._mark = "" if self._folder is None else files_mark(path)
            self.opened = self._open()
        except StoreError:
            self._remove_folder()
            raise

    def _open(self) -> Opened:
        if self._folder is None:
            return open_writer(self._path, self._make_options)
        self._openings += 1
        own = Path(self._folder.name) / str(self._openings)
        return open_follower(self._path, self._make_options, own)

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def acquire(self, name: str) -> Any:
        """The handle of a version; `release` it.

        Raises:
            StoreError: the version was dropped, or the database is closed.
        """
        with self._idle:
            while self._is_exchanging:
                self._idle.wait()
            return self._take(name)

    def acquire_now(self, name: str) -> Any | None:
        """The same without waiting: None while the handles are being exchanged."""
        with self._idle:
            return None if self._is_exchanging else self._take(name)

    def _take(self, name: str) -> Any:
        older, families = self._outdated, self.opened.families
        is_gone = older is not None and name not in families and name in older.families
        handle = older.handle(name) if older is not None and is_gone else self.opened.handle(name)
        self._users += 1
        return handle

    def release(self) -> None:
        """What was acquired is used no more."""
        with self._idle:
            self._users -= 1
            if self._is_exchanging:
                self._idle.notify_all()

    @contextmanager
    def using(self, name: str = DEFAULT_FAMILY) -> Iterator[Any]:
        """`acquire` and `release`; by default of the family of small values."""
        handle = self.acquire(name)
        try:
            yield handle
        finally:
            self.release()

    @contextmanager
    def scanning(self, name: str) -> Iterator[Any]:
        """The same for an iterator, which an exchange does not wait for.

        It keeps its files open, also those of handles closed meanwhile, so a writer, who cannot
        open them twice, does not exchange its handles until it has ended.
        """
        with self.using(name) as handle, self._idle:
            self._scans += 1
        try:
            yield handle
        finally:
            with self._idle:
                self._scans -= 1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._idle:
            self._is_exchanging = True
            while self._users:
                self._idle.wait()
        try:
            yield
        finally:
            with self._idle:
                self._is_exchanging = False
                self._idle.notify_all()

    def reopen(self) -> None:
        """Close a writer's handles and open the files anew.

        Raises:
            StoreError: a scan is under way; or they cannot be opened: then all are closed, and this
                may be tried again.
        """
        with self._alone():
            if self._scans:
                raise StoreError(
                    f"store {self._path.parent}: its disk was full, and writing goes on only when "
                    "the scan under way has ended; try again then"
                )
            self.opened.close()
            self.opened = self._open()

    def catch_up(self) -> None:
        """Show a reader all that was written until now.

        Raises:
            StoreError: it is closed, or the files cannot be read, or they changed again each time
                that they were; what is shown stays as it was.
        """
        self.opened.handle(DEFAULT_FAMILY)
        for _ in range(_CATCH_UP_TRIES):
            mark = files_mark(self._path)
            if mark != self._mark:
                if self._exchange(mark):
                    return
                continue
            with self.using() as database, translated(f"store {self._path.parent}: not caught up"):
                database.try_catch_up_with_primary()
            if files_mark(self._path) == mark:
                return
        raise StoreError(
            f"store {self._path.parent}: its files changed {_CATCH_UP_TRIES} times while they were "
            "being opened; catch up again when the writer is less busy"
        )

    def _exchange(self, mark: str) -> bool:
        """Show what the files hold, unless they are no longer those of this mark."""
        fresh = self._open()
        if files_mark(self._path) != mark:
            fresh.close()
            return False
        with self._alone():
            before, self.opened = self.opened, fresh
            is_kept = self._outdated is None and not before.families.keys() <= fresh.families.keys()
            self._outdated = before if is_kept else self._outdated
        self._mark = mark
        if not is_kept:
            before.close()
        return True

    def forget_dropped(self) -> None:
        """Let go of families that are there no more, after those who are reading them."""
        with self._alone():
            outdated, self._outdated = self._outdated, None
        if outdated is not None:
            outdated.close()

    def close(self) -> None:
        """Refuse further use, wait for what is under way, and give up the lock."""
        self.forget_dropped()
        with self._alone():
            self.opened.close()
        self._remove_folder()
