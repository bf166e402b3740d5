"""Maps parts of a file without a name into memory, so that huge pages can serve them.

A look-up of random rows spends much of its time on translating addresses, unless the pages are
huge. For that the address must be as far from a multiple of 2 MiB as the place in the file, which
Python's own `mmap` does not promise. Whether the kernel gives huge pages is up to it; where it does
not, all is the same, but slower.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError

HUGE_BYTES = 2 << 20
_NO_ACCESS = 0
_FIXED = 0x10
_POPULATE_READ = 22  # of Linux since 5.14
_COLLAPSE = 25  # of Linux since 6.1
_PUNCH_HOLE = 0x02 | 0x01  # which keeps the size
_FAILED = ctypes.c_void_p(-1).value

Bytes = NDArray[np.uint8]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
if hasattr(_libc, "fallocate"):
    _libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def map_file(fd: int, offset: int, size: int, *, is_writable: bool) -> Bytes:
    """A part of a file, uint8[size]; unmapped with the last array that shows any of it.

    Args:
        offset: a multiple of 2 MiB.
        size: > 0; the file is at least so long.

    Raises:
        StoreError: the process may map no more memory.
    """
    reserved = size + HUGE_BYTES
    base = _map(None, reserved, _NO_ACCESS, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    address = -(-base // HUGE_BYTES) * HUGE_BYTES
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
    try:
        _map(address, size, protection, mmap.MAP_SHARED | _FIXED, fd, offset)
    except StoreError:
        _libc.munmap(base, reserved)
        raise
    memory = (ctypes.c_uint8 * size).from_address(address)
    weakref.finalize(memory, _libc.munmap, base, reserved).atexit = False
    array: Bytes = np.ctypeslib.as_array(memory)
    array.flags.writeable = is_writable
    return array


def _map(address: int | None, size: int, protection: int, flags: int, fd: int, offset: int) -> int:
    mapped = _libc.mmap(address, size, protection, flags, fd, offset)
    if mapped is None or mapped == _FAILED:
        reason = os.strerror(ctypes.get_errno())
        raise StoreError(f"{size} bytes of shared RAM cannot be mapped: {reason}")
    return int(mapped)


def make_huge(memory: Bytes) -> None:
    """Put what was written to a mapping into huge pages, if the kernel can."""
    _advise(memory, _COLLAPSE)


def bring_in(memory: Bytes) -> None:
    """Have a mapping's pages at hand, so that no look-up meets with a fault."""
    _advise(memory, _POPULATE_READ)


def let_go(address: int, size: int) -> None:
    """Take mapped pages of a file out of this process; they stay in the system's memory."""
    _libc.madvise(address, size, mmap.MADV_DONTNEED)


def give_back(memory: Bytes) -> None:
    """Take pages out of the file; whoever reads them finds zeros, in new pages."""
    _advise(memory, mmap.MADV_REMOVE)


def empty_part(fd: int, start: int, stop: int) -> None:
    """The same of a part of the file, whether it is mapped or not."""
    _libc.fallocate(fd, _PUNCH_HOLE, start, stop - start)


def _advise(memory: Bytes, advice: int) -> None:
    """A kernel that does not know the advice, or has no memory for it, changes nothing."""
    _libc.madvise(memory.ctypes.data, memory.nbytes, advice)
