"""What tenants use, in memory that all workers of a daemon see: a quota holds for all together.

Times are shared as they are: two workers that let in the same tenant within the same microsecond
may forget one of the two requests, which no quota notices, and no lock is held while a caller
waits. Requests inside would drift that way, so each worker counts its own and adds up the others'.

Invariant: a row of counts has one writer, the worker of that slot, which clears it when it starts;
a tenant keeps its place while the memory lives.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sedp.daemon.access.quota import Place
from sedp.errors import ConfigError
from sedp.memory_file import make_memory_file

PLACES = 16_384  # a config and its key file name at most some thousand tenants
CELL_BYTES = 8


class SharedUse:
    """The memory.

    Args:
        fd: of the memory, as `create` gave it; stays open.
        slot: of this worker alone, from 0; its counts are cleared.
    """

    def __init__(self, fd: int, slot: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        cells = memoryview(self._memory).cast("q")
        self._tags = cells[:PLACES]
        self._times = cells[PLACES : 3 * PLACES]
        rows = (len(cells) - 3 * PLACES) // PLACES
        self._rows = [cells[(3 + row) * PLACES :][:PLACES] for row in range(rows)]
        self._own = self._rows.pop(slot)
        self._own[:] = memoryview(bytes(PLACES * CELL_BYTES)).cast("q")

    @staticmethod
    def create(workers: int) -> int:
        """New memory for so many workers; its file descriptor."""
        fd = make_memory_file("sedp-use")
        os.ftruncate(fd, (3 + workers) * PLACES * CELL_BYTES)
        return fd

    def place(self, tenant: str) -> Place:
        """Where this tenant's use is kept, for as long as the memory lives.

        Raises:
            ConfigError: too many tenants were named since the start.
        """
        at = self._find(tenant)
        others = [row[at : at + 1] for row in self._rows]
        return _SharedPlace(self._times[2 * at : 2 * at + 2], self._own[at : at + 1], others)

    def _find(self, tenant: str) -> int:
        tag = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:8], "big", signed=True) or 1
        with _locked(self.fd):
            for step in range(PLACES):
                at = (tag + step) % PLACES
                if self._tags[at] in (0, tag):
                    self._tags[at] = tag
                    return at
        raise ConfigError(f"more than {PLACES} tenants were named since the start; restart")


class _SharedPlace(Place):
    def __init__(self, full_ns: memoryview, own: memoryview, others: list[memoryview]) -> None:
        self.full_ns = full_ns
        self._own = own
        self._others = others

    def hold(self, in_flight: int) -> None:
        self._own[0] = in_flight

    def elsewhere(self) -> int:
        return sum(row[0] for row in self._others)


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Between processes; the kernel lets go when one dies."""
    fcntl.lockf(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(fd, fcntl.LOCK_UN)
