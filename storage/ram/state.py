"""The arrays of a RAM tier, and what is known of them: what one look-up needs to see at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram.history import HISTORY_BYTES, Histories
from sedp.storage.ram.kernels import CACHE_REACH
from sedp.storage.ram.line import EMPTY, LINE_BYTES, WAYS, Lines
from sedp.storage.tier import Rows

if TYPE_CHECKING:
    from sedp.storage.ram.shared_ram import Region


def bytes_per_set(row_bytes: int, is_whole: bool = False) -> int:
    """What one set of seven rows takes; a cache remembers more than it holds."""
    return LINE_BYTES + WAYS * row_bytes + (0 if is_whole else HISTORY_BYTES)


@dataclass(frozen=True, slots=True)
class RamState:
    """Never changed, but replaced.

    Args:
        lines: uint64[sets, 8].
        rows: uint8[7 * sets, row_bytes].
        histories: uint16[sets, 32], or [0, 32] of a whole tier.
        reach: sets a key may be in.
        is_resident: all rows that the table has are here.
        region: that lines and rows are in, of memory that processes share.
    """

    lines: Lines
    rows: Rows
    histories: Histories
    reach: int
    is_resident: bool = False
    region: Region | None = None

    @classmethod
    def private(cls, sets: int, row_bytes: int, reach: int) -> Self:
        """Empty, in memory of its own."""
        lines = _aligned(sets, LINE_BYTES).view(np.uint64)
        lines[:, :WAYS] = EMPTY
        rows = _aligned(sets * WAYS, row_bytes)
        return cls(lines, rows, _histories(sets if reach == CACHE_REACH else 0), reach)

    @classmethod
    def of(cls, region: Region) -> Self:
        """In a region: the owner's is empty, one that is followed has all rows."""
        is_followed = not region.lines.flags.writeable
        if not is_followed:
            region.take_memory()
            region.lines[:, :WAYS] = EMPTY
        return cls(region.lines, region.rows, _histories(0), region.reach, is_followed, region)

    @property
    def is_followed(self) -> bool:
        """Another process writes to it."""
        return not self.lines.flags.writeable

    @property
    def sets(self) -> int:
        return len(self.lines)

    @property
    def is_whole(self) -> bool:
        return self.reach > CACHE_REACH


def _histories(sets: int) -> Histories:
    return _aligned(sets, HISTORY_BYTES).view(np.uint16)


def _aligned(rows: int, row_bytes: int) -> NDArray[np.uint8]:
    """Zeroed uint8[rows, row_bytes] that starts on a cache line, so that a set is never in two.

    Written to at once: left to the first look-ups, the system's clearing of huge pages made a
    batch of them wait 0.4 s.
    """
    size = rows * row_bytes
    memory = np.empty(size + LINE_BYTES if size else 0, dtype=np.uint8)
    memory.fill(0)
    skip = -memory.ctypes.data % LINE_BYTES if size else 0
    return memory[skip : skip + size].reshape(rows, row_bytes)
