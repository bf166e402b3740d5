"""A process that follows a store and rows in shared RAM, looking up all the time.

    python -m tests.storage.shared_reader PATH FD RAM_BYTES

Of every row it checks that it is in one piece, and no older than the last it saw of that key. A
line on the standard input is answered by what it has seen.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.processes import ROOT
from tests.storage.tables import Keys, some_keys

SPEC = TableSpec("user", 256, "int32")
KEYS = some_keys(300)
RAM_BYTES = 1 << 20
PATIENCE_S = 20.0


def rows_of(keys: Keys, version: int) -> NDArray[np.int32]:
    """Every row is its version, all over."""
    return np.full((len(keys), SPEC.dim), version, np.int32)


class Seen(msgspec.Struct):
    """Args: oldest, newest: versions in the last look-up; resident: RAM alone answers."""

    oldest: int
    newest: int
    resident: bool
    lookups: int
    ram_bytes: int


class Reader:
    """The process, from the side of the test."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def sees(self) -> Seen:
        """What it saw after this was asked; fails if a row was torn, or went back in time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return msgspec.json.decode(self.process.stdout.readline(), type=Seen)

    def waits_for(self, version: int, resident: bool = True) -> Seen:
        """Asks until all rows are of one version."""
        give_up_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_s:
            seen = self.sees()
            if (seen.oldest, seen.newest, seen.resident) == (version, version, resident):
                return seen
        raise AssertionError(f"{seen}, not {version}")


@contextmanager
def shared_reader(path: Path, fd: int) -> Iterator[Reader]:
    """Follows until the block ends, if it has not been killed."""
    command = [sys.executable, "-m", "tests.storage.shared_reader", str(path), str(fd)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, pass_fds=[fd]) as process:
        yield Reader(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) in (0, -9)


class _Watch:
    def __init__(self, store: ParameterStore) -> None:
        self._store = store
        self._table = store.table("user")
        self._last = np.zeros(len(KEYS), np.int32)
        self._missing = np.empty(len(KEYS), np.bool_)
        self._rows = np.empty((len(KEYS), SPEC.dim), np.int32)
        self.lookups = 0
        self.is_done = False

    def look(self) -> None:
        self._table.lookup(KEYS, self._rows, self._missing)
        assert not self._missing.any(), "row is gone"
        assert (self._rows == self._rows[:, :1]).all(), "torn row"
        assert (self._rows[:, 0] >= self._last).all(), "older row than before"
        self._last = self._rows[:, 0].copy()
        self.lookups += 1

    def run(self) -> None:
        while not self.is_done:
            self.look()

    def seen(self) -> Seen:
        self.look()
        statistics = self._store.statistics()
        return Seen(
            int(self._last.min()),
            int(self._last.max()),
            statistics.tables[0].resident,
            self.lookups,
            statistics.ram_bytes,
        )


def main(path: Path, fd: int) -> None:
    shared = SharedRam.follow(fd, 2)
    with ParameterStore.open(path, ram_bytes=RAM_BYTES, read_only=True, shared_ram=shared) as store:
        watch, beside = _Watch(store), _Watch(store)
        thread = threading.Thread(target=beside.run)
        thread.start()
        for _ in sys.stdin.buffer:
            assert thread.is_alive(), "the other thread has failed"
            sys.stdout.buffer.write(msgspec.json.encode(watch.seen()) + b"\n")
            sys.stdout.buffer.flush()
        beside.is_done = True
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
