"""Fails system calls of this process at random points of a store's life, and checks what is left.

Run with libfiu preloaded. Each point opens the store, lets one kind of call fail at a random moment
while it opens, updates, imports, looks up and closes, and then opens it again without faults: what
was acknowledged must be there. Only the package's own errors may come out.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import random
import sys
from pathlib import Path

import numpy as np

from sedp.errors import SedpError
from sedp.storage.store import ParameterStore
from tests.faults.writing import KEYS, OTHER, SETS, SPEC, Told, _look, keys_of_set, lost

CALLS = [
    "posix/io/rw/pwrite",
    "posix/io/rw/write",
    "posix/io/rw/writev",
    "posix/io/rw/pread",
    "posix/io/rw/read",
    "posix/io/sync/fsync",
    "posix/io/sync/fdatasync",
    "posix/io/oc/open",
    "posix/io/dir/rename",
    "posix/io/dir/ftruncate",
    "posix/io/dir/mkdir",
    "posix/io/dir/unlink",
]
ERRORS = [errno.EIO, errno.ENOSPC]
ONCE = 1  # fiu's flag
HANG_S = 60


class Faults:
    """What libfiu lets fail."""

    def __init__(self, seed: int) -> None:
        self._fiu = ctypes.CDLL("libfiu.so.0")
        self._fiu.fiu_init(0)
        self._fiu.fiu_set_prng_seed(ctypes.c_uint(seed))

    def start(self, call: str, error: int, odds: float, flags: int) -> None:
        """From now on the call fails at random."""
        arguments = ctypes.c_int(1), ctypes.c_void_p(error), ctypes.c_uint(flags)
        assert self._fiu.fiu_enable_random(call.encode(), *arguments, ctypes.c_float(odds)) == 0

    def stop(self, call: str) -> None:
        """No longer."""
        self._fiu.fiu_disable(call.encode())


def live(path: Path, first: int, told: Told) -> int:
    """Open, use and close the store; returns how many errors there were."""
    try:
        store = ParameterStore.open(path, ram_bytes=first % 2 << 20)
    except SedpError:
        return 1
    errors = 0

    def attempt(number: int) -> None:
        keys = keys_of_set(number)
        rows = np.full((len(keys), SPEC.dim), number, np.int64)
        durability = "async" if number % 4 == 0 else "sync"
        store.update("user", keys, rows, durability=durability, id=f"{number}")  # type: ignore[arg-type]
        told.numbers.append(number)

    def look() -> None:
        rows, missing = np.empty((len(KEYS), SPEC.dim), np.int64), np.empty(len(KEYS), np.bool_)
        store.table("user").lookup(KEYS, rows, missing)
        assert not missing.any()

    for number in range(first, first + SETS):
        for work in (lambda number=number: attempt(number), look):
            try:
                work()
            except SedpError:
                errors += 1
    try:
        store.import_table(OTHER, [(KEYS, np.ones((len(KEYS), OTHER.dim), np.int32))])
    except SedpError:
        errors += 1
    try:
        store.close()
    except SedpError:
        errors += 1
    return errors


def check(path: Path, told: Told) -> None:
    """Open without faults: nothing acknowledged is lost, and the store is whole."""
    with ParameterStore.open(path, ram_bytes=0) as store:
        newest = _look(store)
        assert lost(newest, told) == [], f"lost {lost(newest, told)}"
        store.settle()
        assert _look(store) == newest
        report = store.verify()
        assert report.is_sound, report


def main(path: Path, seed: int, points: int) -> None:
    """Print a line for each point."""
    faulthandler.dump_traceback_later(HANG_S + points, exit=True)
    dice, faults, told = random.Random(seed), Faults(seed), Told()
    fired = 0
    for point in range(points):
        call, error = dice.choice(CALLS), dice.choice(ERRORS)
        odds, flags = 10 ** dice.uniform(-2.5, -0.3), dice.choice([ONCE, 0])
        sys.stdout.write(f"{point} {call} {errno.errorcode[error]} {odds:.4f} {flags} ")
        sys.stdout.flush()
        faults.start(call, error, odds, flags)
        try:
            errors = live(path, 1 + point * SETS, told)
        finally:
            faults.stop(call)
        fired += errors > 0
        sys.stdout.write(f"{errors} errors\n")
        sys.stdout.flush()
        check(path, told)
    sys.stdout.write(f"{fired} of {points} points met an error\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)  # libfiu is not made for the end of a process
