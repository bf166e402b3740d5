"""Wide requests: visits of the test weeks, asked about hundreds of what their store promoted.

A recorded visit has ten candidates, too few to cut; a recommender re-ranks hundreds. So to those of
the visit a uniform sample of all products promoted there that week is added. Those were not bought:
every promoted product in the basket is among the visit's own. Not to be used for training a ranker,
as weeks and tables are those that it is judged by.
"""

from __future__ import annotations

import numpy as np

from sedp.columns import Array, Batch
from sedp.demo.impressions import (
    ITEM_COLUMNS,
    PAIR_BITS,
    REQUEST_COLUMNS,
    TEST_WEEKS,
    Integers,
    contains,
    select_weeks,
)
from sedp.demo.promotions import PromotionIndex

REQUESTS_MAX = 2_000
SAMPLED = (100, 800)  # drawn evenly over the logarithm: 340 on average
SEED = 1


def draw_wide_requests(impressions: Batch, promotions: PromotionIndex) -> Batch:
    """At most `REQUESTS_MAX` visits in the order of time, in the form of `cut_impressions`."""
    rng = np.random.default_rng(SEED)
    visits = _some_visits(rng, select_weeks(impressions, *TEST_WEEKS))
    stores, weeks = visits["store_id"], visits["week"]
    own = promotions.find(
        stores[visits.owners], weeks[visits.owners], visits["product_id"].astype(np.int64)
    )
    shown = _shown(rng, own, visits.splits, promotions.span(stores, weeks))
    counts = [len(places) for places in shown]
    places = np.concatenate(shown)
    pairs = np.repeat(np.arange(len(shown)), counts) << PAIR_BITS | places
    bought = visits["label"] == 1
    bought_pairs = np.sort(visits.owners[bought] << PAIR_BITS | own[bought])
    items = promotions.columns(places)
    columns: dict[str, Array] = {
        **{name: visits[name] for name in REQUEST_COLUMNS},
        **{name: items[name] for name in ("product_id", "display", "mailer")},
        "label": contains(bought_pairs, pairs).astype(np.int8),
    }
    return Batch(columns, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _some_visits(rng: np.random.Generator, visits: Batch) -> Batch:
    chosen = np.zeros(visits.event_count, np.bool_)
    chosen[rng.permutation(visits.event_count)[:REQUESTS_MAX]] = True
    rows = chosen[visits.owners]
    columns = {
        name: column[rows if name in ITEM_COLUMNS else chosen]
        for name, column in visits.columns.items()
    }
    ends = np.cumsum(np.diff(visits.splits)[chosen])
    return Batch(columns, np.concatenate([[0], ends]))


def _shown(
    rng: np.random.Generator,
    own: Integers,
    splits: Integers,
    spans: tuple[Integers, Integers],
) -> list[Integers]:
    """For each visit its own places in the promotion index and a sample, in random order."""
    low, high = np.log(SAMPLED)
    sizes = np.exp(rng.uniform(low, high, len(splits) - 1)).astype(np.int64)
    shown = []
    for at, (first, stop) in enumerate(zip(*spans, strict=True)):
        size = min(int(sizes[at]), int(stop - first))
        sample = first + rng.choice(stop - first, size, replace=False)
        shown.append(rng.permutation(np.union1d(own[splits[at] : splits[at + 1]], sample)))
    return shown
