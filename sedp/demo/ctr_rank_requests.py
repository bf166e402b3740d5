"""Requests of the ctr-rank workload: one user and some candidates each, ids as skewed as in life.

Ids follow a bounded Zipf law, whose hottest thousandth takes half of all look-ups, and are spread
over nine and ten digits, as ids of shops are: a table indexed by the id itself would not do.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.demo.ctr_rank_model import DENSE, ITEM_SLOTS, USER_SLOTS

IDS_A_SLOT = 1_000_000
ZIPF_EXPONENT = 1.05
FIRST_ID, PRIME = 100_000_000, 9_899_999_993  # ids are FIRST_ID..FIRST_ID + PRIME - 1
SPREAD = 2_654_435_761  # rank × SPREAD mod PRIME: another id for every rank


def draw_requests(dice: np.random.Generator, count: int, candidates: int) -> dict[str, Array]:
    """`count` requests of `candidates` each: `user_ids` int64[count, 10], `item_ids`
    int64[count × candidates, 16], `dense` float32[count × candidates, 13], `splits`
    int64[count + 1].
    """
    rows = count * candidates
    return {
        "splits": np.arange(0, rows + 1, candidates, dtype=np.int64),
        "user_ids": _draw_ids(dice, (count, USER_SLOTS)),
        "item_ids": _draw_ids(dice, (rows, ITEM_SLOTS)),
        "dense": dice.standard_normal((rows, DENSE), np.float32),
    }


def _draw_ids(dice: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int64]:
    ranks = np.searchsorted(_zipf_shares(), dice.random(shape)) + 1
    return FIRST_ID + ranks.astype(np.int64) * SPREAD % PRIME


@functools.cache
def _zipf_shares() -> NDArray[np.float64]:
    """float64[IDS_A_SLOT]: share of the draws that fall on rank `i + 1` or a hotter one."""
    ranks = np.arange(1, IDS_A_SLOT + 1, dtype=np.float64)
    shares: NDArray[np.float64] = np.cumsum(ranks**-ZIPF_EXPONENT)
    shares /= shares[-1]
    return shares
