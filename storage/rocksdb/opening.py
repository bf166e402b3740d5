"""Opens the files of a RocksDB database, for writing or beside the writer, and words its errors.

Always raw mode: the library's default mode unpickles what it reads. A reader is a *secondary*, the
only kind that sees later writes. But a secondary takes a file that is missing or was shortened for
one not yet written, and serves an older state without a word. And a writer removes the files that a
damaged list of them does not name. So the files are opened strictly first, which changes nothing
and tells of such damage, and that handle is closed again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Rdict

from sedp.errors import CorruptionError, StoreError
from sedp.storage.rocksdb.folder_lock import opening
from sedp.storage.rocksdb.synced_mark import SyncedMark

DEFAULT_FAMILY = "default"
CATALOGUE_KEY = b"catalogue"  # in it
FULL = "No space left on device"
_FOLLOWER_TRIES = 3  # a file may go while its name is being read, when the writer merges files

_log = logging.getLogger(__name__)


class DroppedError(StoreError):
    """The table version is there no more."""


class Opened:
    """A database that is open: its handles.

    Args:
        path: for messages.
        database: the handle of the default family.
        families: those of the others, by name.
        folder: of this opening's own, removed on closing.
    """

    def __init__(
        self, path: Path, database: Any, families: dict[str, Any], folder: Path | None = None
    ) -> None:
        self._path = path
        self._folder = folder
        self._database = database
        self._columns: dict[str, Any] = {}
        self.families = families

    @property
    def is_open(self) -> bool:
        """Not yet closed."""
        return self._database is not None

    def handle(self, name: str) -> Any:
        """That of a family.

        Raises:
            DroppedError: there is no such family.
            StoreError: all are closed.
        """
        handle = self._database if name == DEFAULT_FAMILY else self.families.get(name)
        if handle is None:
            if self.is_open:
                raise DroppedError(f"table version {name!r} was dropped; look up the current one")
            raise StoreError(f"store {self._path.parent} is closed; open it again")
        return handle

    def column(self, name: str) -> Any:
        """What names a family in a batch of writes. Raises as `handle`."""
        self.handle(name)
        if name not in self._columns:
            self._columns[name] = self._database.get_column_family_handle(name)
        return self._columns[name]

    def forget(self, name: str) -> None:
        """Let go of a family without closing it: of a dropped one that is an error."""
        self._columns.pop(name, None)
        self.families.pop(name, None)

    def close(self) -> None:
        """Let go of everything. Rows that do not get into files meanwhile stay in the log."""
        handles = [*self.families.values()]
        if self.is_open:
            handles.append(self._database)
        self._columns.clear()
        self.families.clear()
        self._database = None
        for handle in handles:
            try:
                handle.close()
            except Exception as err:  # the library raises nothing more special
                _log.warning("RocksDB complains on closing: %s; its log keeps the rows", err)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def family_names(path: Path, options: Any) -> set[str]:
    """Of the families on disk now, without the default one."""
    return set(Rdict.list_cf(str(path), options)) - {DEFAULT_FAMILY}


def files_mark(path: Path) -> str:
    """Changes whenever the writer adds or removes a file or a family; not when it only logs."""
    with translated(f"store {path.parent}: its list of files is not read"):
        manifest = (path / "CURRENT").read_text().strip()
        return f"{manifest} {(path / manifest).stat().st_size}"


def open_writer(path: Path, make_options: Callable[[], Any]) -> Opened:
    """Open with all families, alone."""
    with translated(f"store {path.parent} cannot be opened"):
        names = set[str]()
        if (path / "CURRENT").exists():
            names = family_names(path, make_options())
            _open_strictly(path, make_options, names)
        else:
            _check_reach(path, SyncedMark(path).read(), 0)
        return _opened(path, make_options, names, AccessType.read_write())


def open_follower(path: Path, make_options: Callable[[], Any], folder: Path) -> Opened:
    """Open beside the writer; `folder` is for the reader's own log, and not used before."""
    with translated(f"store {path.parent} cannot be opened"):
        for _ in range(_FOLLOWER_TRIES - 1):
            with suppress(Exception):  # the last try tells
                return _opened_twice(path, make_options, folder)
        return _opened_twice(path, make_options, folder)


def _opened_twice(path: Path, make_options: Callable[[], Any], folder: Path) -> Opened:
    with opening(path):
        names = family_names(path, make_options())
        _open_strictly(path, make_options, names)
        return _opened(path, make_options, names, AccessType.secondary(str(folder)), folder)


def _open_strictly(path: Path, make_options: Callable[[], Any], names: set[str]) -> None:
    synced = SyncedMark(path).read()  # before, as its writer may be at work
    opened = _opened(path, make_options, names, AccessType.read_only(False))
    try:
        reached = opened.handle(DEFAULT_FAMILY).latest_sequence_number()
    finally:
        opened.close()
    _check_reach(path, synced, reached)


def _check_reach(path: Path, synced: int, reached: int) -> None:
    if reached < synced:
        raise CorruptionError(
            f"store {path.parent} cannot be opened: of {synced} writes that were on disk RocksDB "
            f"finds {reached}, so its list of files or its log is damaged; restore a backup, or "
            f"remove {SyncedMark(path).file} to go on without what is lost"
        )


def _opened(
    path: Path,
    make_options: Callable[[], Any],
    names: set[str],
    access: AccessType,
    folder: Path | None = None,
) -> Opened:
    options = {name: make_options() for name in names}
    database = Rdict(str(path), make_options(), options, access)
    families = {name: database.get_column_family(name) for name in names}
    return Opened(path, database, families, folder)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except StoreError:
        raise
    except Exception as err:
        raise translation(what, err) from err


def translation(what: str, err: Exception) -> StoreError:
    """Our error for one of the library: it raises `Exception` itself, with RocksDB's words."""
    if "LOCK: " in str(err):
        return StoreError(
            f"{what}: it is open for writing already, here or in another process; close that "
            "one, or open this one with read_only=True"
        )
    if str(err).startswith("Corruption"):
        return CorruptionError(f"{what}: {err}; import the table again, or restore the folder")
    if FULL in str(err):
        return StoreError(f"{what}: {err}; free some space")
    return StoreError(f"{what}: {err}")
