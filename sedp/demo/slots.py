"""Which tables and embedding slots the promo-rank model reads: the one declaration of both.

Training, publishing and the serving config follow it. A table with one key column is keyed by that
id as it is, one with several by `combine` salted with the table's name; a slot always by
`combine` salted with the slot's name. Every unknown key reads as zeros, and zeros mean "nothing
known" in every table: code 0, no purchase, a rate like the average, an embedding that adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sedp.demo.dataset import HOUSEHOLD_ATTRIBUTES, PRODUCT_ATTRIBUTES, Columns
from sedp.demo.keyed_rows import Keys
from sedp.storage.rows.keys import combine, salt_of


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """A table of features.

    Args:
        name: its name in the store.
        key: columns that make the key.
        columns: names of the numbers of a row.
        dtype: "int32" for codes, "float32" for numbers the model reads as they are.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    dtype: str = "float32"

    def keys(self, columns: Columns) -> Keys:
        """uint64[n]: the key of each row of `columns`."""
        ids = [columns[name] for name in self.key]
        if len(ids) == 1:
            return ids[0].astype(np.int64).view(np.uint64)
        return combine(ids, salt_of(self.name))


@dataclass(frozen=True, slots=True)
class Slot:
    """One embedding of a candidate: the row that the values of `columns` have in table `fm`."""

    name: str
    columns: tuple[str, ...]

    def keys(self, columns: Columns) -> Keys:
        """uint64[n]: the key of each row of `columns`."""
        return combine([columns[name] for name in self.columns], salt_of(self.name))


HOUSEHOLD_FEATURES = FeatureTable(
    "household_features", ("household_id",), HOUSEHOLD_ATTRIBUTES, "int32"
)
PRODUCT_FEATURES = FeatureTable(
    "product_features", ("product_id",), (*PRODUCT_ATTRIBUTES, "manufacturer"), "int32"
)
PLACEMENT = FeatureTable(
    "placement", ("store_id", "week", "product_id"), ("display", "mailer"), "int32"
)

BOUGHT = ("bought_4w", "bought_20w", "last_bought")
RATED = ("lift", "shown")

HISTORY_TABLES = (
    FeatureTable("household_history", ("household_id",), BOUGHT),
    FeatureTable("product_history", ("product_id",), (*BOUGHT, *RATED)),
    FeatureTable("type_history", ("product_type",), (*BOUGHT, *RATED)),
    FeatureTable("household_product", ("household_id", "product_id"), BOUGHT),
    FeatureTable("household_type", ("household_id", "product_type"), BOUGHT),
)
USER_HISTORY_TABLES = tuple(table for table in HISTORY_TABLES if table.key == ("household_id",))
ITEM_HISTORY_TABLES = tuple(table for table in HISTORY_TABLES if table not in USER_HISTORY_TABLES)

FM_TABLE = "fm"
USER_SLOTS = (
    Slot("household", ("household_id",)),
    Slot("store", ("store_id",)),
    *(Slot(name, (name,)) for name in HOUSEHOLD_ATTRIBUTES),
)
ITEM_SLOTS = (
    Slot("product", ("product_id",)),
    *(Slot(name, (name,)) for name in (*PRODUCT_FEATURES.columns, *PLACEMENT.columns)),
)
SLOTS = (*USER_SLOTS, *ITEM_SLOTS)

assert (*USER_HISTORY_TABLES, *ITEM_HISTORY_TABLES) == HISTORY_TABLES  # one order of numbers
assert len({slot.name for slot in SLOTS}) == len(SLOTS)  # names salt the keys
