"""Asks the kernel for pages of a mapping that are not in memory, all at once.

A disk that serves one page fault after another gives a small part of what it can do. One system
call here advises up to 1,024 pieces of memory, so that the disk works on all of them, and the
faults that follow find them there. It costs half a microsecond a page even where all are resident,
so it is done only while batches meet the disk.
"""

from __future__ import annotations

import ctypes
import os
import resource

import numpy as np
from numpy.typing import NDArray

_PROCESS_MADVISE = 440  # of Linux since 5.10, on every processor
_WILL_NEED = 3
_RANGES_MAX = 1024  # of one call
_COLD_SHARE = 1 / 64  # of the keys of a batch, whose rows come from the disk
_BLOCKS_PER_KEY = 8  # of 512 bytes: a page

Ranges = NDArray[np.uint64]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def fetch_ranges(ranges: Ranges) -> None:
    """Start reading pieces of this process's memory, uint64[n, 2] of address and bytes.

    Each begins a page. Where the system call is refused the pieces are advised one by one.
    """
    process = os.pidfd_open(os.getpid())
    try:
        for start in range(0, len(ranges), _RANGES_MAX):
            part = ranges[start : start + _RANGES_MAX]
            address, count = ctypes.c_void_p(part.ctypes.data), ctypes.c_size_t(len(part))
            flags = ctypes.c_int(0), ctypes.c_long(0)
            arguments = ctypes.c_int(process), address, count, ctypes.c_int(_WILL_NEED)
            if _libc.syscall(ctypes.c_long(_PROCESS_MADVISE), *arguments, *flags) < 0:
                for first, size in part.tolist():
                    _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), _WILL_NEED)
    finally:
        os.close(process)


def blocks_read() -> int:
    """What the disk was asked for by this thread, by faults and ahead of them, in 512 bytes."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def is_cold(blocks: int, keys: int) -> bool:
    """Whether a batch of so many keys that read so many blocks says to fetch ahead for the next."""
    return blocks > _COLD_SHARE * keys * _BLOCKS_PER_KEY
