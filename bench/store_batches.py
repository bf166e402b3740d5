"""Batches of keys for the bench `store`, how long the look-up of one takes, and what it should be.

A measurement is the median over batches within a slice of time, so that a batch that met a cold
page or another process does not count. Each goes on where it left off, over more keys than the
processor's caches hold. A goal has a second limit, to reach for: it is shown, not judged.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure, Goal, make_figure

DIM = 16
ROW_BYTES = 4 * DIM
ZIPF = 1.05
SKEWS = (f"Zipf {ZIPF}", "uniform")
MORE_SKEWS = ("Zipf 0.9", "Zipf 1.2")
BATCH_KEYS = (26, 2_600)
BATCH_KEYS_MAX = 10_000
POOL_KEYS = 500_000  # that a measurement goes round
BATCHES_MIN = 5
TAIL_BATCHES_MIN = 500

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Args:
        seconds: of one measurement in one round.
        rows: of the tables on disk.
        requests: of a stream for hit ratios.
        streams: for hit ratios, one a round.
    """

    rounds: int
    seconds: float
    rows: int
    requests: int
    streams: int


@dataclass(frozen=True, slots=True)
class StretchGoal(Goal):
    """At least `limit`, better `stretch`; as text `>= 0.35 (0.6)`."""

    stretch: float = 0

    def __str__(self) -> str:
        return f">= {self.limit:,g} ({self.stretch:g})"


def at_least(limit: float, stretch: float | None = None) -> Goal:
    """The goal to reach `limit`, and maybe `stretch`."""
    if stretch is None:
        return Goal(limit, at_most=False)
    return StretchGoal(limit, at_most=False, stretch=stretch)


@functools.lru_cache(maxsize=4)
def _zipf_cumulative(ids: int, alpha: float) -> NDArray[np.float64]:
    sums = np.cumsum(np.arange(1, ids + 1, dtype=np.float64) ** -alpha)
    shares: NDArray[np.float64] = sums / sums[-1]
    return shares


def draw_ranks(skew: str, ids: int, count: int, dice: np.random.Generator) -> Ints:
    """int64[count] of 0..ids-1, the most frequent first; `skew` is "uniform" or "Zipf ALPHA"."""
    if skew == "uniform":
        return dice.integers(ids, size=count)
    shares = _zipf_cumulative(ids, float(skew.removeprefix("Zipf ")))
    return np.searchsorted(shares, dice.random(count)).astype(np.int64)


def draw_batches(
    skew: str, ids: int, size: int, dice: np.random.Generator, keys: int = POOL_KEYS
) -> Ints:
    """int64[batches, size] of ids 0..ids-1 whose frequencies have nothing to do with their order.

    Frequent ids that lie next to each other would share cache lines and pages.

    Args:
        keys: of all batches together; where what is rare matters, more than there are ids.
    """
    ranks = draw_ranks(skew, ids, keys // size * size, dice)
    return dice.permutation(ids)[ranks].reshape(-1, size)


def median_us(
    look_up: Callable[[int], object], batches: int, seconds: float
) -> Callable[[], float]:
    """A measurement: median time of `look_up(number of a batch)`."""
    numbers = itertools.cycle(range(batches))

    def measured() -> float:
        taken = list[int]()
        stop_ns = time.perf_counter_ns() + int(seconds * 1e9)
        while len(taken) < BATCHES_MIN or time.perf_counter_ns() < stop_ns:
            number = next(numbers)
            started_ns = time.perf_counter_ns()
            look_up(number)
            taken.append(time.perf_counter_ns() - started_ns)
        return statistics.median(taken) / 1e3

    return measured


def tail_us(look_up: Callable[[int], object], batches: int, seconds: float) -> Callable[[], float]:
    """A measurement: 99th percentile of the times of `look_up(number of a batch)`."""
    numbers = itertools.cycle(range(batches))

    def measured() -> float:
        taken = list[int]()
        stop_ns = time.perf_counter_ns() + int(seconds * 1e9)
        while len(taken) < TAIL_BATCHES_MIN or time.perf_counter_ns() < stop_ns:
            number = next(numbers)
            started_ns = time.perf_counter_ns()
            look_up(number)
            taken.append(time.perf_counter_ns() - started_ns)
        return float(np.percentile(taken, 99)) / 1e3

    return measured


def times_as_fast(
    name: str, us: Sequence[float], anchor_us: Sequence[float], goal: Goal | None
) -> Figure:
    """How many times as fast as the anchor, round by round; judged rather than the times."""
    ratios = [theirs / ours for ours, theirs in zip(us, anchor_us, strict=True)]
    return make_figure(name, "×", ratios, goal=goal)


def keys_per_s(us: Sequence[float], batch_keys: int) -> list[float]:
    return [batch_keys * 1e6 / once for once in us]
