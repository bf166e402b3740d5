"""Has a child look at the store's files before the daemon opens them.

What would end the daemon ends the child. LMDB holds copies only, so a damaged one is put aside, and
a writer makes it anew; without RocksDB there is nothing to serve.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from sedp.errors import StoreError

LMDB_FOLDER, ASIDE = "lmdb", "lmdb.damaged"  # of a store
_MODULE = "sedp.storage.file_check"
_DONE = "done"  # the last word of a child that found nothing
_REASON_CHARACTERS_MAX = 500

_log = logging.getLogger(__name__)


def check_in_child(path: Path, timeout_s: float) -> None:
    """Check the files of the store under `path`; damaged copies are put aside, and logged.

    Args:
        timeout_s: most that a check may take, > 0.

    Raises:
        StoreError: RocksDB's files are damaged, or the check does not end; the message says the
            mend.
    """
    at, reason = _look(path, timeout_s)
    if at == LMDB_FOLDER:
        _put_aside(path, reason)
        at, reason = _look(path, timeout_s)
    if at != _DONE:
        raise StoreError(
            f"store {path}: {at or 'its files'} cannot be read: {reason}; restore it from a backup "
            "with `sedp store restore`, or import its tables into a new store"
        )


def _look(path: Path, timeout_s: float) -> tuple[str, str]:
    """What a child was at last, and why it went no further."""
    command = [sys.executable, "-m", _MODULE, str(path)]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise StoreError(
            f"store {path}: its files were not checked within {timeout_s:g} s; see whether its "
            "disk works, then start again"
        ) from None
    said = child.stdout.split()
    if child.returncode < 0:
        reason = f"reading it ends a process with {signal.Signals(-child.returncode).name}"
    else:
        reason = " ".join(child.stderr.split())[-_REASON_CHARACTERS_MAX:]
    return (said[-1] if said else ""), reason


def _put_aside(path: Path, reason: str) -> None:
    """Keep one damaged folder, to look at."""
    aside = path / ASIDE
    _log.error("store %s: LMDB is damaged and made anew, %s has it: %s", path, aside, reason)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        (path / LMDB_FOLDER).rename(aside)
    except OSError as err:
        raise StoreError(
            f"store {path}: LMDB is damaged ({reason}), and cannot be put aside: {err}; delete its "
            f"folder {LMDB_FOLDER}, it is made anew"
        ) from err
