"""No family is dropped while a reader opens the files.

A reader lists the families, then opens them. If the writer drops one in between, RocksDB may free
it and then read from it, which ends the reader's process (seen in `VersionEditHandlerPointInTime`
of RocksDB 10, as rocksdict 0.3.29 has it). So both take a lock on the database's folder, which
needs no file of its own; the system gives up that of a process that is killed.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sedp.errors import StoreError

PAUSE_S = 0.002  # between two tries
TRIES_MAX = 2500  # then the other side's process has been stopped


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Families stay inside; any number of readers may be in.

    Raises:
        StoreError: a writer has been dropping one for seconds, or the folder cannot be locked.
    """
    with _locked(path, fcntl.LOCK_SH, "a writer has been dropping a table version of it"):
        yield


@contextmanager
def dropping(path: Path) -> Iterator[None]:
    """No reader opens the files inside.

    Raises:
        StoreError: a reader has been opening them for seconds, or the folder cannot be locked.
    """
    with _locked(path, fcntl.LOCK_EX, "a reader has been opening it"):
        yield


@contextmanager
def _locked(path: Path, kind: int, reason: str) -> Iterator[None]:
    with _told(path):
        folder = os.open(path, os.O_RDONLY)
    try:
        tries, pause = 1, threading.Event()
        while not _is_taken(path, folder, kind):
            if tries == TRIES_MAX:
                seconds = TRIES_MAX * PAUSE_S
                raise StoreError(
                    f"store {path.parent}: {reason} for {seconds:g} s; see whether that process "
                    "has been stopped"
                )
            tries += 1
            pause.wait(PAUSE_S)
        yield
    finally:
        os.close(folder)


def _is_taken(path: Path, folder: int, kind: int) -> bool:
    with _told(path):
        try:
            fcntl.flock(folder, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise StoreError(f"store {path.parent}: folder {path.name} is not locked: {err}") from err
