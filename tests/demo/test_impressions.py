"""The cut, against a plain model of what it should be: sets and loops."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Batch
from sedp.demo.dataset import Dataset
from sedp.demo.impressions import (
    PAIR_BITS,
    PLACE_MASK,
    cut_impressions,
    draw_shown,
    item_columns,
    select_weeks,
)


def test_every_visit_has_its_bought_products_and_three_others_each_plus_one(
    dataset: Dataset, impressions: Batch
) -> None:
    promoted, baskets = defaultdict(set), defaultdict(set)
    found = dataset.promotions.columns(slice(None))
    names = ("store_id", "week", "product_id")
    for store, week, product in zip(*(found[name] for name in names), strict=True):
        promoted[store, week].add(product)
    lines = dataset.purchases
    for at, basket in enumerate(lines["basket_id"]):
        store, week = lines["store_id"][at], lines["week"][at]
        known = lines["household_id"][at] in dataset.households["household_id"]
        if known and promoted[store, week]:
            who = lines["ts_s"][at], basket, lines["household_id"][at], store, week
            baskets[who].add(lines["product_id"][at])
    visits = sorted(baskets.items())
    assert impressions.event_count == len(visits) > 300
    columns = item_columns(impressions)
    for event, ((ts_s, _, household, store, week), basket) in enumerate(visits):
        assert impressions["ts_s"][event] == ts_s
        assert impressions["household_id"][event] == household
        assert (impressions["store_id"][event], impressions["week"][event]) == (store, week)
        rows = slice(impressions.splits[event], impressions.splits[event + 1])
        product, label = columns["product_id"][rows], columns["label"][rows]
        bought, left = product[label == 1], product[label == 0]
        assert set(bought) == basket & promoted[store, week]
        assert set(left) <= promoted[store, week] - basket
        assert len(set(product)) == len(product)
        assert len(left) == min(3 * len(bought) + 1, len(promoted[store, week]) - len(bought))


def test_placement_is_that_of_the_promotion(dataset: Dataset, impressions: Batch) -> None:
    columns = item_columns(impressions)
    places = dataset.promotions.find(columns["store_id"], columns["week"], columns["product_id"])
    assert places.min() >= 0
    assert (columns["display"] == dataset.promotions.display[places]).all()
    assert (columns["mailer"] == dataset.promotions.mailer[places]).all()


def test_the_same_seed_gives_the_same_cut_and_another_gives_another(
    dataset: Dataset, impressions: Batch
) -> None:
    again, other = cut_impressions(dataset), cut_impressions(dataset, seed=1)
    assert all((again[name] == column).all() for name, column in impressions.columns.items())
    assert (other.splits == impressions.splits).all()
    assert not (other["product_id"] == impressions["product_id"]).all()


def test_bought_products_are_not_first_in_their_visit(impressions: Batch) -> None:
    first = impressions["label"][impressions.splits[:-1]]
    assert 0.1 < first.mean() < 0.4


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=8),
    seed=st.integers(0, 2**32),
)
def test_what_is_drawn_is_distinct_and_as_much_as_there_is(
    sizes: list[tuple[int, int]], seed: int
) -> None:
    count = np.array([size for size, _ in sizes])
    taken = np.minimum([bought for _, bought in sizes], count)
    first = np.cumsum(count) - count
    bought = np.concatenate(
        [
            np.arange(n) + start + (visit << PAIR_BITS)
            for visit, (n, start) in enumerate(zip(taken, first, strict=True))
        ]
    )
    shown = draw_shown(np.random.default_rng(seed), bought, first, first + count)
    assert (np.diff(shown) > 0).all()
    assert np.isin(bought, shown).all()
    visits, places = shown >> PAIR_BITS, shown & PLACE_MASK
    assert ((places >= first[visits]) & (places < (first + count)[visits])).all()
    expected = np.minimum(4 * taken + 1, count)
    assert (np.bincount(visits, minlength=len(count)) == expected).all()


def test_every_unbought_product_is_as_likely_to_be_shown() -> None:
    """20,000 visits, 10 products, 1 bought: each of the 9 others is in the sample 4 times of 9."""
    visits = np.arange(20_000)
    bought = visits << PAIR_BITS | 3
    first = np.zeros_like(visits)
    shown = draw_shown(np.random.default_rng(0), bought, first, first + 10)
    share = np.bincount(shown & PLACE_MASK, minlength=10) / len(visits)
    assert share[3] == 1
    assert np.abs(np.delete(share, 3) - 4 / 9).max() < 0.0176  # five standard deviations


@settings(max_examples=20)
@given(first=st.integers(0, 60), span=st.integers(0, 60))
def test_selecting_weeks_keeps_exactly_their_rows(
    impressions: Batch, first: int, span: int
) -> None:
    chosen, columns = select_weeks(impressions, first, first + span), item_columns(impressions)
    wanted = (columns["week"] >= first) & (columns["week"] <= first + span)
    assert chosen.row_count == wanted.sum() == len(chosen["label"])
    found = item_columns(chosen)
    assert all((found[name] == column[wanted]).all() for name, column in columns.items())
