"""Traffic: who arrives when, with how many rows. Lazy, seeded, in integer nanoseconds.

Numbers are drawn in blocks: a draw of one costs more than simulating its arrival. How the rate
changes with time is in `shapes`; who asks again, in `callers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.engine.events import NEVER_NS
from sedp.simulator.arrival import Arrival

BLOCK = 4096  # numbers drawn at a time: numpy's price of a call is spread thin, memory stays small
SECOND_NS = 1_000_000_000
USERS = 128  # hashes of users that the doorman tells apart


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
            yield Arrival(time_ns, pipeline, count, None, _after(time_ns, deadline_after_ns))


@dataclass(frozen=True, slots=True)
class RequestKind:
    """One of the kinds of requests that come mixed.

    Args:
        rows: observed sizes; each arrival draws one of them.
        share: of all arrivals; the shares of all kinds add up to 1.
        pipeline: its number in the graph.
        target_ns: latency target, from the arrival; `None` is none.
        deadline_ns: from the arrival; `None` is never.
        patience_ns: from the arrival; then the caller cancels; `None` is never.
        levels: share of each priority level, the highest first; they add up to 1.
        tenant: whose they are.
    """

    rows: tuple[int, ...]
    share: float = 1.0
    pipeline: int = 0
    target_ns: int | None = None
    deadline_ns: int | None = None
    patience_ns: int | None = None
    levels: tuple[float, ...] = (1.0,)
    tenant: int = 0

    def ask(self, time_ns: int, rows: int, level: int, user: int) -> Arrival:
        return Arrival(
            time_ns,
            self.pipeline,
            rows,
            None,
            _after(time_ns, self.deadline_ns),
            _after(time_ns, self.patience_ns),
            _after(time_ns, self.target_ns),
            level,
            user,
            self.tenant,
        )


def mixed(
    times_ns: NDArray[np.int64], kinds: Sequence[RequestKind], rng: np.random.Generator
) -> Iterator[Arrival]:
    """Arrivals at given times (int64[n], ascending), each of a random kind, level and user."""
    shares = [kind.share for kind in kinds]
    for start in range(0, len(times_ns), BLOCK):
        block = times_ns[start : start + BLOCK]
        chosen = rng.choice(len(kinds), len(block), p=shares)
        dice = rng.random((3, len(block)))
        for time_ns, number, rows, level, user in zip(
            block.tolist(), chosen.tolist(), *dice.tolist(), strict=True
        ):
            kind = kinds[number]
            yield kind.ask(
                time_ns,
                kind.rows[int(rows * len(kind.rows))],
                _drawn(kind.levels, level),
                int(user * USERS),
            )


def _drawn(shares: tuple[float, ...], dice: float) -> int:
    """The level, from 1, into whose share a number from 0 to 1 falls."""
    for level, share in enumerate(shares, 1):
        dice -= share
        if dice < 0:
            return level
    return len(shares)


def _after(time_ns: int, limit_ns: int | None) -> int:
    return NEVER_NS if limit_ns is None else time_ns + limit_ns


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
