"""What was bought before, as tables frozen at the end of a week.

`bought_4w` and `bought_20w` count purchases, each worth half after 4 or 20 weeks, so that their
size does not grow with the length of the record; ln(1 + count). `last_bought` is 1 / weeks since
the last purchase. `lift` is the logarithm of the share of impressions that were bought over the
average share, drawn to 0 while there are few; `shown` is ln(1 + impressions).

A table frozen at week w is made of weeks up to w alone and read for impressions of later weeks
alone: a label can never reach its own features. Training reads tables frozen every
`FREEZE_WEEKS` weeks, which makes them as stale as the published ones are in the test weeks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.demo.dataset import Columns
from sedp.demo.keyed_rows import KeyedRows
from sedp.demo.slots import HISTORY_TABLES, RATED, FeatureTable

FREEZE_WEEKS = 6
HALF_LIVES_WEEKS = (4.0, 20.0)
PRIOR_IMPRESSIONS = 4.0  # an average share counts as much as this many impressions


class History:
    """Everything that one history table counts; freezes it at any week.

    Grouping by key is the costly part and is done once for all weeks.

    Args:
        purchases: `week` and the table's key columns, one row a line of a receipt.
        impressions: `week`, `label` and the key columns, one row an impression; read only by
            tables with `RATED` columns.
    """

    def __init__(self, table: FeatureTable, purchases: Columns, impressions: Columns) -> None:
        self.table = table
        bought = table.keys(purchases)
        self._rated = set(RATED) <= set(table.columns)
        shown = table.keys(impressions) if self._rated else bought[:0]
        self._keys, groups = np.unique(np.concatenate((bought, shown)), return_inverse=True)
        self._bought, self._bought_week = groups[: len(bought)], purchases["week"]
        self._shown, self._shown_week = groups[len(bought) :], impressions["week"]
        self._label = impressions["label"]

    def freeze(self, week: int) -> KeyedRows:
        """The table at the end of `week`: float32[r, dim], keys met up to then."""
        met, columns = self._count_purchases(week)
        if self._rated:
            shown, rates = self._rate_impressions(week)
            met |= shown
            columns = [*columns, *rates]
        rows = np.stack(columns, axis=1)[met].astype(np.float32)
        return KeyedRows(self._keys[met], rows)

    def _count_purchases(self, week: int) -> tuple[NDArray[np.bool_], list[Array]]:
        past = self._bought_week <= week
        groups = self._bought[past]
        age_weeks = week + 1.0 - self._bought_week[past]
        counts = [
            np.log1p(np.bincount(groups, 0.5 ** (age_weeks / half_life), len(self._keys)))
            for half_life in HALF_LIVES_WEEKS
        ]
        last = np.zeros(len(self._keys))
        np.maximum.at(last, groups, 1.0 / age_weeks)
        return last > 0, [*counts, last]

    def _rate_impressions(self, week: int) -> tuple[NDArray[np.bool_], list[Array]]:
        past = self._shown_week <= week
        groups, label = self._shown[past], self._label[past]
        shown = np.bincount(groups, minlength=len(self._keys))
        bought = np.bincount(groups, label, len(self._keys))
        share = label.mean() if label.any() else 1.0
        smooth = (bought + PRIOR_IMPRESSIONS * share) / (shown + PRIOR_IMPRESSIONS)
        return shown > 0, [np.log(smooth / share), np.log1p(shown)]


def collect_history(
    purchases: Columns, impressions: Columns, household_ids: Array
) -> tuple[History, ...]:
    """One `History` for each of `HISTORY_TABLES`.

    Args:
        purchases: of all households, with `product_type`.
        impressions: one row an impression, with `product_type`.
        household_ids: those that are served; tables keyed by household leave the others out.
    """
    served = np.isin(purchases["household_id"], household_ids)
    own = {name: column[served] for name, column in purchases.items()}
    return tuple(
        History(table, own if "household_id" in table.key else purchases, impressions)
        for table in HISTORY_TABLES
    )
