"""What households saw and took: promoted products on each visit, bought or not.

A visit counts when its household's attributes are known and its store promoted something that
week. Shown and bought: the promoted products in the basket. Shown and left: a uniform sample of
the others promoted there that week, `LEFT_PER_BOUGHT` for each bought one plus `LEFT_MORE`. The
sample is thinner than life (thousands are promoted at once), so the rate of purchase is not real,
and how many rows a visit has would give away how many were bought: never use it as a feature.

The result has the form of a batch of requests: visits are its events, impressions its rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch
from sedp.demo.dataset import Columns, Dataset
from sedp.demo.promotions import PromotionIndex

TRAIN_WEEKS, VALID_WEEKS, TEST_WEEKS = (1, 42), (43, 47), (48, 53)

SEED = 20240601
LEFT_PER_BOUGHT, LEFT_MORE = 3, 1

REQUEST_COLUMNS = ("ts_s", "household_id", "store_id", "week")
ITEM_COLUMNS = ("product_id", "display", "mailer", "label")

PAIR_BITS = 32  # a pair: visit number above, place in the promotion index below
PLACE_MASK = (1 << PAIR_BITS) - 1
DRAW_ROUNDS_MAX = 10_000  # a round leaves about 1 in 200 to draw again; four do for the real data

Integers = NDArray[np.integer[Any]]


def cut_impressions(dataset: Dataset, seed: int = SEED) -> Batch:
    """Make the impressions of all visits, in the order of time.

    Returns:
        A batch with the request-level columns `ts_s`, `household_id`, `store_id`, `week` (int64)
        and the item-level columns `product_id` (int64), `display`, `mailer` (int32), `label`
        (int8, 1 = bought); rows of a visit are in random order.
    """
    rng = np.random.default_rng(seed)
    promotions = dataset.promotions
    lines = select_lines(dataset)
    new_visit = np.diff(lines["basket_id"], prepend=-1) != 0
    visits = {name: column[new_visit] for name, column in lines.items()}
    bought = find_bought(lines, np.cumsum(new_visit) - 1, promotions)
    shown = draw_shown(rng, bought, *promotions.span(visits["store_id"], visits["week"]))
    shown = shown[np.lexsort((rng.random(len(shown)), shown >> PAIR_BITS))]
    items = promotions.columns(shown & PLACE_MASK)
    columns: dict[str, Array] = {
        **{name: visits[name].astype(np.int64) for name in REQUEST_COLUMNS},
        **{name: items[name] for name in ("product_id", "display", "mailer")},
        "label": contains(bought, shown).astype(np.int8),
    }
    rows_per_visit = np.bincount(shown >> PAIR_BITS, minlength=len(visits["week"]))
    return Batch(columns, np.concatenate(([0], np.cumsum(rows_per_visit))))


def select_lines(dataset: Dataset) -> Columns:
    """The receipt lines of the visits that count, in the order of time, visit by visit."""
    purchases = dataset.purchases
    first, stop = dataset.promotions.span(purchases["store_id"], purchases["week"])
    known = np.isin(purchases["household_id"], dataset.households["household_id"])
    kept = np.flatnonzero(known & (stop > first))
    kept = kept[np.lexsort((purchases["basket_id"][kept], purchases["ts_s"][kept]))]
    return {name: column[kept] for name, column in purchases.items()}


def find_bought(lines: Columns, visit: Integers, promotions: PromotionIndex) -> NDArray[np.int64]:
    """Sorted pairs of the promoted products in each basket, each once."""
    place = promotions.find(lines["store_id"], lines["week"], lines["product_id"])
    promoted = place >= 0
    return np.unique(visit[promoted] << PAIR_BITS | place[promoted])


def draw_shown(
    rng: np.random.Generator, bought: NDArray[np.int64], first: Integers, stop: Integers
) -> NDArray[np.int64]:
    """Sorted pairs: those bought, and for each visit a uniform sample of the others.

    Draws with replacement and draws again what was taken before; that leaves every set of unbought
    products equally likely. A visit whose store promotes too few gets all of them.

    Args:
        bought: sorted pairs without repeats.
        first, stop: int64[visits], the span of each visit's promotions in the index; not empty.
    """
    count = stop - first
    bought_count = np.bincount(bought >> PAIR_BITS, minlength=len(count))
    wanted = np.minimum(LEFT_PER_BOUGHT * bought_count + LEFT_MORE, count - bought_count)
    waiting = np.repeat(np.arange(len(count)), wanted)
    taken = bought
    for _ in range(DRAW_ROUNDS_MAX):
        if not waiting.size:
            return taken
        pairs = waiting << PAIR_BITS | first[waiting] + rng.integers(0, count[waiting])
        drawn, at = np.unique(pairs, return_index=True)
        fresh = ~contains(taken, drawn)
        taken = np.sort(np.concatenate((taken, drawn[fresh])))
        waiting = np.delete(waiting, at[fresh])
    raise AssertionError(f"{waiting.size} draws still wanted after {DRAW_ROUNDS_MAX} rounds")


def contains(pairs: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool: which of `wanted` are in the sorted `pairs`."""
    places = np.searchsorted(pairs, wanted)
    found: NDArray[np.bool_] = np.append(pairs, -1)[places] == wanted
    return found


def select_weeks(impressions: Batch, first: int, last: int) -> Batch:
    """The visits of weeks `first` to `last`, both included; weeks never fall as time goes on."""
    start, stop = np.searchsorted(impressions["week"], (first, last + 1))
    rows = slice(impressions.splits[start], impressions.splits[stop])
    columns = {
        name: column[rows if name in ITEM_COLUMNS else slice(start, stop)]
        for name, column in impressions.columns.items()
    }
    return Batch(columns, impressions.splits[start : stop + 1] - impressions.splits[start])


def item_columns(impressions: Batch) -> Columns:
    """All columns with one row an impression."""
    owners = impressions.owners
    return {
        name: column if name in ITEM_COLUMNS else column[owners]
        for name, column in impressions.columns.items()
    }
