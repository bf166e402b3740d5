"""The RAM tier by itself: its speed against a dense gather, and what it keeps of a stream."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.cache_policies import s3_fifo_hits, static_optimum_hits
from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    DIM,
    ROW_BYTES,
    SKEWS,
    ZIPF,
    Effort,
    Ints,
    draw_batches,
    median_us,
    times_as_fast,
)
from sedp.kernel import kernel
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.tier import RamTier
from sedp.storage.tier import Keys

HIT_RATIO = 0.95
IDS = 1_000_000
ALPHAS = (0.9, 1.05, 1.2)
CACHE_SHARES = (0.01, 0.05, 0.1, 0.2)  # of the ids that have a place
CACHE_SHARE = 0.05  # for the share of the static optimum
THREAD_BATCHES = 20  # that a thread looks up between two views of the clock
STREAM_BATCH_KEYS = 2_600
DRIFTS = 20  # times a stream that 1 % of the ranks change places
DRIFT_SHARE = 0.01
_SLICE_KEYS = 1 << 16


def gather_figures(
    places: int, skews: tuple[str, ...], goal: Goal, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """Times of batches at 95 % hits, with the share of the dense limit that the large ones reach.

    Args:
        places: rows cached; the measurement takes about 160 bytes of memory a place.
    """
    tier = RamTier("ram", ROW_BYTES, places // WAYS)
    held = _fill(tier, dice.permutation(places * 5 // 4).astype(np.uint64))
    dense = np.ones((len(held), DIM), dtype=np.float32)
    figures = list[Figure]()
    for skew in skews:
        for size in BATCH_KEYS:
            name = f"RAM tier, {places // 1_000_000} M rows, {skew}, {size:,} keys"
            us, limit_us = _gather_us(tier, held, dense, skew, size, effort, dice)
            anchor = "np.take of a dense table"
            figures.append(make_figure(name, "µs/batch", us, anchor=anchor, anchor_rounds=limit_us))
            if size == BATCH_KEYS[-1]:
                name += ": share of the dense limit"
                figures.append(times_as_fast(name, us, limit_us, goal))
    return [
        *figures,
        _threads_figure(f"RAM tier, {places // 1_000_000} M rows", tier, held, effort, dice),
    ]


def _fill(tier: RamTier, offered: Keys) -> Keys:
    """Offer more keys than there are places, as traffic does; returns those held in the end."""
    out = np.empty((_SLICE_KEYS, ROW_BYTES), dtype=np.uint8)
    missing = np.empty(len(offered), dtype=np.bool_)
    parts = [slice(at, at + _SLICE_KEYS) for at in range(0, len(offered), _SLICE_KEYS)]
    out[:] = 1
    for part in parts:
        tier.put_many(offered[part], out[: len(offered[part])])
    for part in parts:
        tier.get_many(offered[part], out[: len(offered[part])], missing[part])
    return offered[~missing]


def _gather_us(
    tier: RamTier,
    held: Keys,
    dense: NDArray[np.float32],
    skew: str,
    size: int,
    effort: Effort,
    dice: np.random.Generator,
) -> list[list[float]]:
    """Median times of the tier and of the dense table, a round each."""
    ids = draw_batches(skew, len(held), size, dice)
    keys = held[ids]
    strangers = dice.random(ids.shape) >= HIT_RATIO
    keys[strangers] += np.uint64(1 << 40)
    rows = np.empty((size, DIM), dtype=np.float32)
    out, missing = rows.view(np.uint8), np.empty(size, dtype=np.bool_)
    counts = [tier.get_many(batch, out, missing) for batch in keys]
    assert sum(counts) == np.count_nonzero(strangers), "the tier lost rows it held"
    return measure_in_turn(
        effort.rounds,
        median_us(lambda at: tier.get_many(keys[at], out, missing), len(keys), effort.seconds),
        median_us(
            lambda at: np.take(dense, ids[at], axis=0, mode="clip", out=rows),
            len(keys),
            effort.seconds,
        ),
    )


def _threads_figure(
    name: str, tier: RamTier, held: Keys, effort: Effort, dice: np.random.Generator
) -> Figure:
    """Two threads against one, on one tier; beside them a loop that shares nothing does the same.

    That is what the machine has to give: less than 2 where others use its cores.
    """
    keys = held[draw_batches(SKEWS[1], len(held), BATCH_KEYS[-1], dice)]

    def look_up(stop_ns: int, thread: int) -> int:
        rows, missing = (
            np.empty((keys.shape[1], ROW_BYTES), np.uint8),
            np.empty(keys.shape[1], bool),
        )
        done = thread * len(keys) // 2
        while time.perf_counter_ns() < stop_ns:
            for _ in range(THREAD_BATCHES):
                tier.get_many(keys[done % len(keys)], rows, missing)
                done += 1
        return done - thread * len(keys) // 2

    def spin(stop_ns: int, thread: int) -> int:
        done = 0
        while time.perf_counter_ns() < stop_ns:
            _spin(THREAD_BATCHES * keys.shape[1] * 20)
            done += 1
        return done

    rates = measure_in_turn(
        effort.rounds,
        *(
            functools.partial(_rate, work, threads, effort.seconds)
            for work in (look_up, spin)
            for threads in (1, 2)
        ),
    )
    ours, anchor = (
        [two / one for one, two in zip(*pair, strict=True)] for pair in (rates[:2], rates[2:])
    )
    return make_figure(
        f"{name}, uniform: two threads against one",
        "×",
        ours,
        goal=Goal(1.7, at_most=False),
        anchor="a loop that shares nothing",
        anchor_rounds=anchor,
    )


def _rate(work: Callable[[int, int], int], threads: int, seconds: float) -> float:
    """Calls a second of all threads together."""
    done, stop_ns = [0] * threads, time.perf_counter_ns() + int(seconds * 1e9)

    def count(thread: int) -> None:
        done[thread] = work(stop_ns, thread)

    started = [threading.Thread(target=count, args=(thread,)) for thread in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return sum(done) / seconds


@kernel("int64(int64)")
def _spin(rounds: int) -> int:
    word = 1
    for step in range(rounds):
        word = (word * 6364136223846793005 + step) & 0xFFFFFFFF
    return word


def hit_figures(effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Hits of the second half of streams beside S3-FIFO's: as they are, and under drift.

    Under drift the goal is a point more, though where a fifth of the ids have a place, who knew all
    ranks would gain only two.
    """
    figures = list[Figure]()
    for alpha in ALPHAS:
        streams = [_zipf_stream(alpha, effort.requests, dice) for _ in range(effort.streams)]
        for share in CACHE_SHARES:
            figures += _steady_figures(f"Zipf {alpha}", share, streams)
    streams = [_zipf_stream(ZIPF, effort.requests, dice) for _ in range(effort.streams)]
    drifting = [_drift(*stream, dice) for stream in streams]
    for share in CACHE_SHARES:
        ratios = [_hit_ratios(stream, _places(share)) for stream in drifting]
        goal = Goal(1, at_most=False)
        figures.append(_points(f"Zipf {ZIPF} under drift", share, ratios, goal))
    return figures


def _steady_figures(skew: str, share: float, streams: Sequence[tuple[Ints, Ints]]) -> list[Figure]:
    """Of streams given as ranks and the ids in order of rank."""
    places = _places(share)
    ratios = [_hit_ratios(order[ranks], places) for ranks, order in streams]
    figures = [_points(skew, share, ratios, Goal(-0.5, at_most=False))]
    if skew == SKEWS[0] and share == CACHE_SHARE:
        halves = [(order[ranks[len(ranks) // 2 :]], order[:places]) for ranks, order in streams]
        bests = [static_optimum_hits(half, best, IDS) / len(half) for half, best in halves]
        ours, s3 = zip(*ratios, strict=True)
        figures.append(
            make_figure(
                f"hit ratio of RAM, {skew}, {share:.0%} of the ids: share of the static optimum",
                "×",
                [hits / best for hits, best in zip(ours, bests, strict=True)],
                goal=Goal(0.96, at_most=False),
                anchor="S3-FIFO",
                anchor_rounds=[hits / best for hits, best in zip(s3, bests, strict=True)],
            )
        )
    return figures


def _points(skew: str, share: float, ratios: Sequence[tuple[float, float]], goal: Goal) -> Figure:
    """How many of a hundred keys more than with S3-FIFO are hits."""
    name = f"hit ratio of RAM, {skew}, {share:.0%} of the ids: above S3-FIFO's"
    return make_figure(name, "points", [100 * (ours - s3) for ours, s3 in ratios], goal=goal)


def _places(share: float) -> int:
    return int(IDS * share) // WAYS * WAYS


def _zipf_stream(alpha: float, count: int, dice: np.random.Generator) -> tuple[Ints, Ints]:
    """Ranks int64[count], the most frequent 0, and which id has which rank."""
    sums = np.cumsum(np.arange(1, IDS + 1, dtype=np.float64) ** -alpha)
    ranks = np.searchsorted(sums / sums[-1], dice.random(count)).astype(np.int64)
    return ranks, dice.permutation(IDS)


def _hit_ratios(stream: Ints, places: int) -> tuple[float, float]:
    """Of the tier and of S3-FIFO, over the second half."""
    half = len(stream) // 2
    hits = s3_fifo_hits(stream, IDS, places, half)
    return _tier_hit_ratio(stream, places), hits / (len(stream) - half)


def _tier_hit_ratio(stream: Ints, places: int) -> float:
    """Share of the second half that no tier below was asked for; 0..1.

    A cascade asks below for a key once a batch, however often the batch has it: as hits count
    for policies that see one key at a time.
    """
    tier = RamTier("ram", 0, places // WAYS)
    keys = stream.astype(np.uint64)
    rows = np.empty((STREAM_BATCH_KEYS, 0), dtype=np.uint8)
    fetched = 0
    for start in range(0, len(keys), STREAM_BATCH_KEYS):
        batch = keys[start : start + STREAM_BATCH_KEYS]
        missing = np.empty(len(batch), dtype=np.bool_)
        tier.get_many(batch, rows[: len(batch)], missing)
        unknown = np.unique(batch[missing])
        tier.put_many(unknown, rows[: len(unknown)])
        fetched += len(unknown) if start >= len(keys) // 2 else 0
    return 1 - fetched / (len(keys) - len(keys) // 2)


def _drift(ranks: Ints, order: Ints, dice: np.random.Generator) -> Ints:
    """A stream in which the hottest half percent trade ranks with as many others, time and again.

    Hot ones only: a swap among the rest, which are hardly asked for, would not be felt.
    """
    order = order.copy()
    hot = int(len(order) * DRIFT_SHARE / 2)
    parts = list[Ints]()
    for part in np.array_split(ranks, DRIFTS):
        parts.append(order[part])
        others = hot + dice.choice(len(order) - hot, hot, replace=False)
        order[:hot], order[others] = order[others], order[:hot].copy()
    return np.concatenate(parts)
