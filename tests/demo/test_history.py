"""Frozen history, against a model that walks all receipts and impressions for each row."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from sedp.columns import Array, Batch
from sedp.demo.dataset import Columns, Dataset
from sedp.demo.features import Features, attach, read_history
from sedp.demo.history import FREEZE_WEEKS, HALF_LIVES_WEEKS, PRIOR_IMPRESSIONS
from sedp.demo.impressions import item_columns
from sedp.demo.slots import HISTORY_TABLES, PRODUCT_FEATURES, RATED, FeatureTable

Row = dict[str, int]


def as_rows(columns: Columns, where: Array) -> list[Row]:
    names = list(columns)
    picked = zip(*(columns[name][where].tolist() for name in names), strict=True)
    return [dict(zip(names, values, strict=True)) for values in picked]


def expected_row(
    table: FeatureTable, asked: Row, purchases: list[Row], impressions: list[Row], week: int
) -> list[float]:
    """What `table` says of `asked` at the end of `week`, by its definition."""

    def matches(row: Row) -> bool:
        return row["week"] <= week and all(row[name] == asked[name] for name in table.key)

    ages = [week + 1 - row["week"] for row in purchases if matches(row)]
    numbers = [
        math.log1p(sum(0.5 ** (age / half_life) for age in ages)) for half_life in HALF_LIVES_WEEKS
    ]
    numbers.append(1 / min(ages) if ages else 0.0)
    if set(RATED) <= set(table.columns):
        past = [row["label"] for row in impressions if row["week"] <= week]
        mine = [row["label"] for row in impressions if matches(row)]
        share = sum(past) / len(past) if past else 1.0
        smooth = (sum(mine) + PRIOR_IMPRESSIONS * share) / (len(mine) + PRIOR_IMPRESSIONS)
        numbers += [math.log(smooth / share), math.log1p(len(mine))]
    return numbers


@pytest.fixture(scope="module")
def receipts(dataset: Dataset, features: Features) -> tuple[list[Row], list[Row]]:
    """Receipt lines of everybody, and of the known households alone."""
    purchases = attach(dataset.purchases, PRODUCT_FEATURES, features.products)
    everybody = as_rows(purchases, np.arange(len(purchases["week"])))
    known = set(dataset.households["household_id"].tolist())
    return everybody, [row for row in everybody if row["household_id"] in known]


def expect_history(
    columns: Columns, at: int, frozen: int, features: Features, receipts: tuple[list[Row], ...]
) -> list[float]:
    all_columns = features.columns(1, 53)
    impressions = as_rows(all_columns, np.flatnonzero(all_columns["week"] <= frozen))
    asked = as_rows(columns, np.array([at]))[0]
    numbers: list[float] = []
    for table in HISTORY_TABLES:
        purchases = receipts[1] if "household_id" in table.key else receipts[0]
        numbers += expected_row(table, asked, purchases, impressions, frozen)
    return numbers


def test_each_row_in_training_knows_only_the_weeks_before_its_block(
    features: Features,
    training_rows: tuple[Columns, Array],
    receipts: tuple[list[Row], list[Row]],
) -> None:
    columns, history = training_rows
    for at in np.random.default_rng(3).choice(len(history), 30, replace=False):
        frozen = (columns["week"][at] - 1) // FREEZE_WEEKS * FREEZE_WEEKS
        expected = expect_history(columns, at, frozen, features, receipts)
        assert history[at] == pytest.approx(expected, abs=1e-5)


def test_tables_frozen_for_serving_follow_their_definition(
    features: Features, receipts: tuple[list[Row], list[Row]]
) -> None:
    columns = features.columns(48, 53)
    history = read_history(features.freeze_history(47), columns)
    for at in np.random.default_rng(4).choice(len(history), 10, replace=False):
        expected = expect_history(columns, at, 47, features, receipts)
        assert history[at] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("week", [0, 6, 20, 47])
def test_nothing_that_happens_later_changes_a_frozen_table(
    dataset: Dataset, impressions: Batch, week: int
) -> None:
    """Forge everything after `week`: other products, other labels. No table may notice."""
    late = dataset.purchases["week"] > week
    purchases = {**dataset.purchases}
    purchases["product_id"] = np.where(late, 1000, purchases["product_id"])
    forged_dataset = Dataset(dataset.promotions, purchases, dataset.households, dataset.products)
    shown_late = item_columns(impressions)["week"] > week
    label = np.where(shown_late, 1 - impressions["label"], impressions["label"])
    forged = Batch({**impressions.columns, "label": label.astype(np.int8)}, impressions.splits)
    honest = Features(dataset, impressions).freeze_history(week)
    for name, table in Features(forged_dataset, forged).freeze_history(week).items():
        assert (table.keys == honest[name].keys).all()
        assert (table.rows == honest[name].rows).all()


def test_before_the_first_week_nothing_is_known(features: Features) -> None:
    assert all(not table.keys.size for table in features.freeze_history(0).values())
    columns = features.columns(1, 6)
    assert not read_history(features.freeze_history(0), columns).any()


def test_tables_by_household_hold_only_those_that_are_served(features: Features) -> None:
    assert features.freeze_history(47)["household_history"].keys.tolist() == list(range(1, 13))


def test_a_purchase_counts_half_after_the_half_life(features: Features) -> None:
    """The receipts end with week 53, so after it only age moves a count."""
    rows = [features.freeze_history(week)["household_history"] for week in (53, 57)]
    counts = [np.expm1(table.rows[:, 0].astype(np.float64)) for table in rows]
    assert counts[0] == pytest.approx(2 * counts[1], rel=1e-5)


def test_rows_stay_sorted_and_unique(features: Features) -> None:
    for table in features.freeze_history(30).values():
        assert all(low < high for low, high in pairwise(table.keys.tolist()))
