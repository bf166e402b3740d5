"""The same work in several threads at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 4


def run_in_threads(work: Callable[[int], None]) -> None:
    """Call `work` with 0, 1, … in a thread each; raises what one of them raised."""
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(work, seed) for seed in range(THREADS)]:
            future.result()
