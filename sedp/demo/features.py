"""The features of impressions: what the serving pipeline fetches, as training sees it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Batch
from sedp.demo.dataset import Columns, Dataset
from sedp.demo.history import FREEZE_WEEKS, History, collect_history
from sedp.demo.impressions import item_columns, select_weeks
from sedp.demo.keyed_rows import KeyedRows
from sedp.demo.slots import (
    HISTORY_TABLES,
    HOUSEHOLD_FEATURES,
    PLACEMENT,
    PRODUCT_FEATURES,
    FeatureTable,
)


class Features:
    """Joins impressions with attributes and history; counts the history at its first use."""

    def __init__(self, dataset: Dataset, impressions: Batch) -> None:
        self._dataset = dataset
        self._impressions = impressions
        self.households = collect_rows(HOUSEHOLD_FEATURES, dataset.households)
        self.products = collect_rows(PRODUCT_FEATURES, dataset.products)

    def columns(self, first_week: int, last_week: int) -> Columns:
        """All columns of these weeks' impressions, attributes included, one row an impression."""
        columns = item_columns(select_weeks(self._impressions, first_week, last_week))
        columns = attach(columns, HOUSEHOLD_FEATURES, self.households)
        return attach(columns, PRODUCT_FEATURES, self.products)

    @cached_property
    def _histories(self) -> tuple[History, ...]:
        purchases = attach(self._dataset.purchases, PRODUCT_FEATURES, self.products)
        last_week = int(self._impressions["week"].max())
        served = self._dataset.households["household_id"]
        return collect_history(purchases, self.columns(1, last_week), served)

    def freeze_history(self, week: int) -> dict[str, KeyedRows]:
        """Every history table by name, as it stands at the end of `week`."""
        return {history.table.name: history.freeze(week) for history in self._histories}

    def history_as_of(self, columns: Columns, last_week: int) -> NDArray[np.float32]:
        """float32[n, m] for the impressions of weeks 1 to `last_week`, each from its own past.

        Each block of `FREEZE_WEEKS` weeks reads tables frozen at the end of the block before.
        """
        blocks = []
        for frozen in range(0, last_week, FREEZE_WEEKS):
            ends = (frozen + 1, frozen + FREEZE_WEEKS + 1)
            rows = slice(*np.searchsorted(columns["week"], ends))
            block = {name: column[rows] for name, column in columns.items()}
            blocks.append(read_history(self.freeze_history(frozen), block))
        return np.concatenate(blocks)

    def placement(self, first_week: int) -> KeyedRows:
        """Display and mailer codes of all promotions from `first_week` on."""
        promotions = self._dataset.promotions
        late = np.flatnonzero(promotions.weeks() >= first_week)
        return collect_rows(PLACEMENT, promotions.columns(late))


def collect_rows(table: FeatureTable, columns: Columns) -> KeyedRows:
    """The table's content, taken from columns that hold its key and its numbers."""
    rows = np.stack([columns[name] for name in table.columns], axis=1)
    return KeyedRows.from_unsorted(table.keys(columns), rows.astype(table.dtype))


def attach(columns: Columns, table: FeatureTable, content: KeyedRows) -> Columns:
    """The columns and, beside them, those of the table's row for each; 0 for an unknown key."""
    rows = content.find(table.keys(columns))
    return {**columns, **{name: rows[:, at] for at, name in enumerate(table.columns)}}


def read_history(tables: dict[str, KeyedRows], columns: Columns) -> NDArray[np.float32]:
    """float32[n, m]: the rows of all history tables side by side, in the order declared."""
    return np.concatenate(
        [tables[table.name].find(table.keys(columns)) for table in HISTORY_TABLES], axis=1
    )
