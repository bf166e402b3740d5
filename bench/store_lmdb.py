"""LMDB alone, all of its pages in memory, against a gather from a mapped file of bare rows.

No table of keys can be faster than that gather. The tier by itself shows what the layout costs, the
whole look-up, with no RAM tier over it, what is paid to get there; the few rows that a hashed
bucket had no slot for come from RocksDB then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    BATCH_KEYS_MAX,
    DIM,
    MORE_SKEWS,
    SKEWS,
    Effort,
    Ints,
    at_least,
    draw_batches,
    keys_per_s,
    median_us,
    times_as_fast,
)
from bench.store_built import Built, opened
from bench.store_plain import PlainTiers
from sedp.storage.lmdb.tier import LmdbTier

GOALS = {"dense": at_least(0.35, 0.6), "hashed": at_least(0.2, 0.4)}
GETMULTI_GOAL = at_least(10, 40)


@dataclass(frozen=True, slots=True)
class Case:
    """Batches of one kind; only some are judged."""

    skew: str
    keys: int
    is_judged: bool = True


CASES = (
    *(Case(skew, size) for skew in SKEWS for size in (BATCH_KEYS[-1], BATCH_KEYS_MAX)),
    *(Case(skew, BATCH_KEYS[0], is_judged=False) for skew in SKEWS),
    *(Case(skew, BATCH_KEYS[-1], is_judged=False) for skew in MORE_SKEWS),
)
WIDE_CASES = tuple(Case(skew, BATCH_KEYS[-1]) for skew in SKEWS)


def lmdb_figures(
    built: Built, plain: PlainTiers | None, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """Keys a second, and their share of the limit; beside py-lmdb's best call if `plain` has it."""
    with opened(built.path, 0) as held, built.mapping_resident():
        figures = list[Figure]()
        for case in CASES if built.spec.dim == DIM else WIDE_CASES:
            ids = draw_batches(case.skew, len(built.keys), case.keys, dice)
            whole = built.look_up(held.table, ids)
            figures += _figures(
                built, case, ids, _answer(built, held.warm, ids), whole, plain, effort
            )
        return figures


def _figures(
    built: Built,
    case: Case,
    ids: Ints,
    tier: Callable[[int], object],
    whole: Callable[[int], object],
    plain: PlainTiers | None,
    effort: Effort,
) -> list[Figure]:
    keys = ids.astype(np.uint64)
    calls = [tier, whole, built.take_from(built.mapped, ids)]
    if plain is not None:
        calls.append(lambda at: plain.get_from_lmdb(keys[at]))
    measured = (median_us(call, len(ids), effort.seconds) for call in calls)
    tier_us, whole_us, limit_us, *plain_us = measure_in_turn(effort.rounds, *measured)
    spec = built.spec
    name = f"LMDB {spec.layout}, {spec.dim} × float32, {case.skew}, {case.keys:,} keys"
    anchor = "np.take of a memmap"

    def rate(part: str, us: list[float]) -> Figure:
        limits = keys_per_s(limit_us, case.keys)
        rates = keys_per_s(us, case.keys)
        return make_figure(f"{name}: {part}", "keys/s", rates, anchor=anchor, anchor_rounds=limits)

    if not case.is_judged:
        return [rate("look-up", whole_us), rate("tier", tier_us)]
    goal = GOALS[spec.layout]
    return [
        rate("look-up", whole_us),
        times_as_fast(f"{name}: look-up × {anchor}", whole_us, limit_us, goal),
        times_as_fast(f"{name}: tier × {anchor}", tier_us, limit_us, goal),
        *(
            times_as_fast(f"{name}: look-up × py-lmdb getmulti", whole_us, us, GETMULTI_GOAL)
            for us in plain_us
        ),
    ]


def _answer(built: Built, tier: LmdbTier, ids: Ints) -> Callable[[int], object]:
    """`LmdbTier.answer` of a batch by its number, after a look at the first one's answer."""
    keys, wanted = ids.astype(np.uint64), np.arange(ids.shape[1])
    out = np.empty((ids.shape[1], built.spec.dim), dtype=np.float32)
    stored, missing = out.view(np.uint8), np.ones(ids.shape[1], dtype=np.bool_)
    tier.answer(keys[0], wanted, stored, missing)
    assert missing.mean() < 0.01, "LMDB lacks more rows than hashing explains"
    assert np.array_equal(out[~missing], built.dense[ids[0]][~missing])
    return lambda at: tier.answer(keys[at], wanted, stored, missing)
