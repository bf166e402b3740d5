from __future__ import annotations

import numpy as np
import pyarrow as pa

from sedp.demo.dataset import HOUSEHOLD_ATTRIBUTES, Dataset, encode
from tests.demo.grocer import START_S, make_tables


def test_codes_are_ranks_of_sorted_words_and_blanks_are_zero() -> None:
    chunks = [["pear", None, "apple"], ["quince", "apple", "0"]]
    column = pa.chunked_array([pa.array(chunk).dictionary_encode() for chunk in chunks])
    assert encode(column, blank="0").tolist() == [2, 0, 1, 3, 1, 0]


def test_all_words_blank_gives_all_zeros() -> None:
    column = pa.chunked_array([pa.array([None, None], pa.string()).dictionary_encode()])
    assert encode(column).tolist() == [0, 0]


def test_codes_do_not_depend_on_the_order_of_rows() -> None:
    words = ["b", "c", "a", "b"]
    forward = pa.chunked_array([pa.array(words).dictionary_encode()])
    backward = pa.chunked_array([pa.array(words[::-1]).dictionary_encode()])
    assert encode(forward).tolist() == encode(backward).tolist()[::-1]


def test_tables_are_read_whole(dataset: Dataset) -> None:
    tables = make_tables()
    assert dataset.households["household_id"].tolist() == list(range(1, 13))
    assert set(dataset.households) == {"household_id", *HOUSEHOLD_ATTRIBUTES}
    assert dataset.households["home_ownership"].tolist() == [1, 0, 2] * 4
    assert dataset.products["manufacturer"].tolist() == tables["products"]["manufacturer_id"]
    assert dataset.products["product_type"][0] == 0
    assert dataset.purchases["basket_id"].tolist() == tables["transactions"]["basket_id"]
    first = tables["transactions"]["transaction_timestamp"][0]
    assert dataset.purchases["ts_s"][0] == first.astype("datetime64[s]").astype(np.int64) >= START_S


def test_promotions_are_sorted_and_keep_the_greatest_code_of_a_product_listed_twice(
    dataset: Dataset,
) -> None:
    table = make_tables()["promotions"]
    best: dict[tuple[int, int, int], tuple[int, int]] = {}
    codes = {"0": 0, "1": 1, "A": 2}, {"0": 0, "D": 1, "Z": 2}
    for product, store, display, mailer, week in zip(*table.values(), strict=True):
        old = best.get((store, week, product), (0, 0))
        new = codes[0][display], codes[1][mailer]
        best[store, week, product] = max(old[0], new[0]), max(old[1], new[1])
    found = dataset.promotions.columns(slice(None))
    names = ("store_id", "week", "product_id", "display", "mailer")
    rows = list(zip(*(found[name].tolist() for name in names), strict=True))
    assert rows == [(*key, *places) for key, places in sorted(best.items())]


def test_a_week_of_a_store_is_one_span(dataset: Dataset) -> None:
    first, stop = dataset.promotions.span(np.array([300, 500, 400]), np.array([7, 7, 54]))
    assert (stop - first).tolist() == [14, 0, 0]
    found = dataset.promotions.columns(slice(first[0], stop[0]))
    assert set(found["store_id"]) == {300}
    assert set(found["week"]) == {7}


def test_an_unpromoted_product_is_not_found(dataset: Dataset) -> None:
    promotions = dataset.promotions
    last = promotions.columns(np.array([len(promotions.keys) - 1]))
    where = last["store_id"], last["week"], last["product_id"]
    assert promotions.find(*where).tolist() == [len(promotions.keys) - 1]
    assert promotions.find(where[0], where[1], where[2] + 1).tolist() == [-1]
