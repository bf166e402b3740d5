"""Candidate cut, the measure: what is left of a full ranking when candidates were cut before it.

NDCG of the best `top` against the full ranking itself: its first place is worth `top`, its last of
the best 1, what comes behind them nothing, each discounted by log2 of the place it is shown at.
Labels are not needed and scores may be on any scale, only their order counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.stages.cut_kernels import Floats, Integers
from sedp.stages.cut_net import rank


def best_places(scores: Floats, order: Integers, splits: Integers, top: int) -> Integers:
    """int64[events, top]: the place in `order` of each of the best by `scores`, best first.

    Args:
        scores: the full ranking's, float32[n].
        order: int64[n], the cheap ranking, as `cut_net.rank` gives it.

    Returns:
        Places from 0; the number of candidates where a request has fewer than `top`.
    """
    rows = np.diff(splits)
    owners = np.repeat(np.arange(len(rows)), rows)
    place = np.empty(len(order), np.int64)
    place[splits[owners] + order] = np.arange(len(order)) - splits[owners]
    best = rank(scores, splits)
    ranks = np.arange(top)
    there = ranks < rows[:, None]
    starts = splits[:-1, None]
    at = np.where(there, starts + ranks, 0)
    return np.where(there, place[np.where(there, starts + best[at], 0)], rows[:, None])


def losses(places: Integers, rows: Integers, counts: Integers) -> NDArray[np.float64]:
    """float64[events]: 1 - NDCG when only the cheap ranking's first `counts` are ranked.

    Args:
        places: what `best_places` gave.
        rows: int64[events], candidates.
        counts: int64[events], candidates kept.
    """
    top = places.shape[1]
    discounts = np.append(1 / np.log2(np.arange(2, top + 2)), 0)
    there = np.arange(top) < rows[:, None]
    worth = np.where(there, np.arange(top, 0, -1), 0)
    kept = there & (places < counts[:, None])
    shown_at = np.cumsum(kept, axis=1) - 1
    reached = np.where(kept, worth * discounts[shown_at], 0).sum(axis=1)
    ideal = (worth * discounts[:top]).sum(axis=1)
    loss: NDArray[np.float64] = 1 - reached / np.maximum(ideal, 1)
    return loss
