"""File pages: kept in memory while a measurement says "resident", dropped where it says "cold".

Kernels may drop file pages that idle for seconds (DAMON's reclaimer does), and a figure of resident
pages is then one of page faults. So the pages of a mapped file are locked for as long as they are
measured; where the limit of locked memory forbids it, they are touched once, right before.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

PAGE_BYTES = 4096
_MADV_DONTNEED = 4
_libc = ctypes.CDLL(None, use_errno=True)
for _call in (_libc.mlock, _libc.munlock):
    _call.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@contextmanager
def resident(address: int, size: int) -> Iterator[None]:
    """Keep `size` mapped bytes from `address`, the start of a page, in memory."""
    is_locked = _libc.mlock(address, size) == 0
    if not is_locked:
        touch(address, size)
    try:
        yield
    finally:
        if is_locked:
            _libc.munlock(address, size)


@contextmanager
def folder_resident(folder: Path) -> Iterator[None]:
    """Keep what all files below `folder` have now in memory."""
    with ExitStack() as held:
        for path in folder.rglob("*"):
            if path.is_file() and (size := path.stat().st_size):
                mapped = np.memmap(path, dtype=np.uint8, mode="r")
                held.enter_context(resident(mapped.ctypes.data, size))
                held.callback(mapped.flush)  # which has nothing to do: it keeps the map until here
        yield


def touch(address: int, size: int) -> None:
    """Read a byte of every page."""
    mapped = (ctypes.c_uint8 * size).from_address(address)
    np.ctypeslib.as_array(mapped)[::PAGE_BYTES].sum()


def evict(path: Path, address: int = 0, size: int = 0) -> None:
    """Drop a file's pages from memory; `address` and `size` say where this process maps it."""
    if size:
        _libc.madvise(address, size, _MADV_DONTNEED)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # pages to be written cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def evict_folder(folder: Path) -> None:
    """Drop the pages of all files below, which nobody maps."""
    for path in folder.rglob("*"):
        if path.is_file():
            evict(path)
