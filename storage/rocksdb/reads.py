"""Reads the parts of a batch on several threads, because RocksDB reads one key after another.

In memory a read keeps a core busy: few large parts, one a core. On disk it waits, 0.1 ms a page,
while the disk could do dozens: many small parts. Which it is, the last batch tells: the kernel
counts the blocks that each thread had to read from disk.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

from sedp.cores import usable_cores

THREADS_MAX = 32  # reads that a disk is asked for at once, with the caller's own
WARM_KEYS_MIN = 256  # a part in memory: fewer are read sooner than a thread wakes
COLD_KEYS_MIN = 8  # a part on disk
COLD_KEYS = 16  # cold: one key in this many, or more, was read from disk
_BLOCKS_A_READ = 8  # a page of 4 KiB, in blocks as the kernel counts them

Part = TypeVar("Part")


class ReadPool:
    """The threads of one database; they start when a batch first needs them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS_MAX - 1, thread_name_prefix="rocksdb-read")
        self._cores = usable_cores()
        self._is_cold = False  # written by any thread: a guess that may be wrong for one batch

    def map(self, read: Callable[[slice], Part], count: int) -> list[Part]:
        """`read` of slices that make up 0..count, in order; the caller's thread takes the first.

        Raises what `read` raised, when no thread reads any more.
        """
        parts = self._parts(count)
        if parts <= 1:
            answer, blocks = _counted(read, slice(0, count))
            self._is_cold = self._was_cold(blocks, count)
            return [answer]
        first, *others = slices(count, parts)
        futures = list[Future[tuple[Part, int]]]()
        try:
            for part in others:
                futures.append(self._pool.submit(_counted, read, part))
            answer, blocks = _counted(read, first)
        finally:
            wait(futures)
        answers = [answer]
        for future in futures:
            answer, more = future.result()
            answers.append(answer)
            blocks += more
        self._is_cold = self._was_cold(blocks, count)
        return answers

    def _was_cold(self, blocks: int, count: int) -> bool:
        return blocks * COLD_KEYS > count * _BLOCKS_A_READ

    def _parts(self, count: int) -> int:
        if self._is_cold:
            return min(THREADS_MAX, count // COLD_KEYS_MIN)
        return min(self._cores, THREADS_MAX, count // WARM_KEYS_MIN)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def slices(count: int, parts: int) -> list[slice]:
    """0..count in `parts` slices that differ by at most one; one slice where that is fewer than 1.

    Example: slices(7, 3) is 0..2, 2..4, 4..7.
    """
    if parts <= 1:
        return [slice(0, count)]
    bounds = [count * at // parts for at in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _counted(read: Callable[[slice], Part], part: slice) -> tuple[Part, int]:
    """What `read` gives, and how many blocks this thread read from disk meanwhile."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
    answer = read(part)
    return answer, resource.getrusage(resource.RUSAGE_THREAD).ru_inblock - before
