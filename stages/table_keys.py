"""Keys of table rows made from columns, the same way in training and in serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.errors import ConfigError
from sedp.stage import Resources, Table
from sedp.storage.rows.keys import combine, salt_of

INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})


def level_of(names: Sequence[str], inputs: Mapping[str, ColumnSpec]) -> Level:
    """Item level as soon as one of the columns is, else request level.

    Raises:
        ValueError: a column is not a scalar integer.
    """
    for name in names:
        spec = inputs[name]
        if spec.datatype not in INTEGERS or spec.shape:
            raise ValueError(
                f"column {name!r} is {spec}, but a key is made of integers, one a row; "
                "use an INT or UINT column without further sizes"
            )
    is_item = any(inputs[name].level is Level.ITEM for name in names)
    return Level.ITEM if is_item else Level.REQUEST


def key_columns(
    batch: Batch, names: Sequence[str], inputs: Mapping[str, Level], level: Level
) -> list[Array]:
    """The columns of a key, request rows repeated where the key is item level."""
    if level is Level.REQUEST:
        return [batch[name] for name in names]
    return [batch.at_item_level(name, inputs[name]) for name in names]


def raw_keys(column: Array) -> NDArray[np.uint64]:
    """An id as its own key; negative ids wrap, as their 64 bits are taken as they are."""
    # A column may be one element of fetched rows, and tables want their keys side by side.
    return np.require(column, np.int64, ("C", "A")).view(np.uint64)


def hashed_keys(columns: Sequence[Array], name: str) -> NDArray[np.uint64]:
    """64-bit mix of several ids, different for each slot or table `name`."""
    return combine(columns, salt_of(name))


def open_table(resources: Resources, name: str, dim: int, dtype: np.dtype[Any]) -> Table:
    """The current version of a table, checked against what the stage was promised.

    Raises:
        ConfigError: no store is configured, or the table's rows are of another form.
        StoreError: there is no such table.
    """
    if resources.store is None:
        raise ConfigError(
            f"table {name!r} is wanted but the config has no `store` section; add one"
        )
    table = resources.store.table(name)
    if (table.spec.dim, np.dtype(table.spec.dtype)) != (dim, dtype):
        raise ConfigError(
            f"table {name!r} holds rows of {table.spec.dim} {table.spec.dtype}, but the config "
            f"says {dim} {dtype}; change the config or import the table anew"
        )
    return table
