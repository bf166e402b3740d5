"""Traffic: who arrives when, with how many rows. Lazy, seeded, in integer nanoseconds.

Times and rows are drawn in blocks: a draw of one number costs more than simulating its arrival.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sedp.engine.events import NEVER_NS
from sedp.simulator.arrival import Arrival

BLOCK = 4096  # numbers drawn at a time: numpy's price of a call is spread thin, memory stays small
SECOND_NS = 1_000_000_000


def poisson(
    rate: float,
    count: int,
    rng: np.random.Generator,
    *,
    rows: NDArray[np.int64],
    pipeline: int = 0,
    deadline_after_ns: int | None = None,
) -> Iterator[Arrival]:
    """`count` arrivals of independent callers.

    Args:
        rate: arrivals a second, on average.
        rows: observed sizes of requests; each arrival draws one of them.
        deadline_after_ns: from each arrival; `None` is never.
    """
    start_ns = 0
    for block in _blocks(count):
        times_ns = start_ns + poisson_times_ns(rate, block, rng)
        yield from from_arrays(
            times_ns,
            rng.choice(rows, block),
            pipeline=pipeline,
            deadline_after_ns=deadline_after_ns,
        )
        start_ns = int(times_ns[-1])


def from_arrays(
    times_ns: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    pipeline: int = 0,
    deadline_after_ns: int | None = None,
) -> Iterator[Arrival]:
    """Arrivals at given times (int64[n], ascending) with given rows (int64[n])."""
    for start in range(0, len(times_ns), BLOCK):
        block = slice(start, start + BLOCK)
        for time_ns, count in zip(times_ns[block].tolist(), rows[block].tolist(), strict=True):
            deadline_ns = NEVER_NS if deadline_after_ns is None else time_ns + deadline_after_ns
            yield Arrival(time_ns, pipeline, count, None, deadline_ns)


def poisson_times_ns(rate: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64[count]: ascending times of independent callers, `rate` a second on average."""
    gaps_ns = rng.exponential(SECOND_NS / rate, count)
    return np.cumsum(gaps_ns).astype(np.int64)


def even_times_ns(rate: float, count: int) -> NDArray[np.int64]:
    """int64[count]: one every `1 / rate` seconds, from 0."""
    return (np.arange(count) * (SECOND_NS / rate)).astype(np.int64)


def recorded_times_ns(recorded_s: NDArray[np.int64], speed: float) -> NDArray[np.int64]:
    """int64[n]: recorded times from 0, `speed` times as fast.

    Args:
        recorded_s: int64[n], ascending.
    """
    return ((recorded_s - recorded_s[:1]) * (SECOND_NS / speed)).astype(np.int64)


def _blocks(count: int) -> Iterator[int]:
    for start in range(0, count, BLOCK):
        yield min(BLOCK, count - start)
