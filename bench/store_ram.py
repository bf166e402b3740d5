"""The RAM tier by itself: its speed against a dense gather, and what it keeps of a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.cache_policies import s3_fifo_hits, static_optimum_hits
from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    DIM,
    ROW_BYTES,
    SKEWS,
    Effort,
    Ints,
    draw_batches,
    draw_ranks,
    median_us,
    times_as_fast,
)
from sedp.storage.ram_kernels import WAYS
from sedp.storage.ram_tier import RamTier
from sedp.storage.tier import Keys

HIT_RATIO = 0.95
IDS = 1_000_000
CACHE_SHARE = 0.05  # of the ids that have a place
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
    return figures


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


def hit_figures(effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Hits of the second half of a stream, as it is and under drift; a stream a round."""
    places = int(IDS * CACHE_SHARE) // WAYS * WAYS
    steady, drifting = list[tuple[float, float]](), list[tuple[float, float]]()
    optimum = list[float]()
    for _ in range(effort.streams):
        ranks = draw_ranks(SKEWS[0], IDS, effort.requests, dice)
        order = dice.permutation(IDS)
        stream = order[ranks]
        steady.append(_hit_ratios(stream, places))
        later = stream[len(stream) // 2 :]
        optimum.append(static_optimum_hits(later, order[:places], IDS) / len(later))
        drifting.append(_hit_ratios(_drift(ranks, order, dice), places))
    (ours, s3), (ours_drift, s3_drift) = zip(*steady, strict=True), zip(*drifting, strict=True)
    name = f"hit ratio of RAM, {SKEWS[0]}, {CACHE_SHARE:.0%} of {IDS // 1_000_000} M ids"
    anchor = "S3-FIFO"
    return [
        make_figure(name, "of keys", ours, anchor=anchor, anchor_rounds=s3),
        make_figure(
            f"{name}: share of the static optimum",
            "×",
            [a / b for a, b in zip(ours, optimum, strict=True)],
            goal=Goal(0.96, at_most=False),
            anchor=anchor,
            anchor_rounds=[a / b for a, b in zip(s3, optimum, strict=True)],
        ),
        make_figure(f"{name}, drift", "of keys", ours_drift, anchor=anchor, anchor_rounds=s3_drift),
        make_figure(
            f"{name}, drift: share of S3-FIFO's",
            "×",
            [a / b for a, b in zip(ours_drift, s3_drift, strict=True)],
            goal=Goal(1, at_most=False),
        ),
    ]


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
    """The stream with the hottest half percent trading ranks with as many others, time and again.

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
