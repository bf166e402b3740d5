"""Slots of an embedding look-up: which columns make their keys, with one value a row or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Batch, ColumnSpec, Level
from sedp.stages.table_keys import INTEGERS, hashed_keys, key_columns, level_of
from sedp.stages.wide_slots import Wide
from sedp.storage.rows.keys import combine_slots, salt_of

_INT64 = np.iinfo(np.int64)

Int64 = Annotated[int, msgspec.Meta(ge=_INT64.min, le=_INT64.max)]


class PooledSlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A slot with several values a row: their embeddings are pooled into one, or all kept."""

    columns: Annotated[
        list[str],
        msgspec.Meta(
            description="Integer columns that make a key: one with several values a row, and any "
            "number with one, which are crossed with each of them."
        ),
    ]
    pooling: Annotated[
        Literal["sum", "mean", "none"],
        msgspec.Meta(
            description="How a row's embeddings become one; a row without any is zeros. With none "
            "each value is a slot of its own, NAME.0, NAME.1 …, of a single column."
        ),
    ]
    padding: Annotated[
        Int64 | None,
        msgspec.Meta(
            description="The value that fills up rows with fewer values than the column has room "
            "for; it is left out. Default: every value counts.",
        ),
    ] = None


def slot_level(name: str, slot: list[str] | PooledSlot, inputs: Mapping[str, ColumnSpec]) -> Level:
    """Item level as soon as one of its columns is.

    Raises:
        ValueError: a column has not the type or number of values that the slot needs.
    """
    if isinstance(slot, list):
        for column in slot:
            if inputs[column].shape:
                raise ValueError(
                    f"slot {name!r}: column {column!r} is {inputs[column]}, several values a row; "
                    f"say how to pool them: {name}: {{columns: {slot}, pooling: mean}}"
                )
        return level_of(slot, inputs)
    many = _column_of_many(name, slot, inputs)
    if slot.pooling == "none" and (len(slot.columns) > 1 or slot.padding is not None):
        raise ValueError(
            f"slot {name!r}: with pooling none each value of one column keeps its place; name that "
            "column alone, without padding"
        )
    levels = inputs[many].level, level_of([one for one in slot.columns if one != many], inputs)
    return Level.ITEM if Level.ITEM in levels else Level.REQUEST


def _column_of_many(name: str, slot: PooledSlot, inputs: Mapping[str, ColumnSpec]) -> str:
    many = [column for column in slot.columns if inputs[column].shape]
    if len(many) != 1:
        raise ValueError(
            f"slot {name!r} pools the values of one column, but of {slot.columns} "
            f"{len(many)} have several values a row; name exactly one such column"
        )
    spec = inputs[many[0]]
    if spec.datatype not in INTEGERS or len(spec.shape) != 1:
        raise ValueError(
            f"slot {name!r}: column {many[0]!r} is {spec}; use an INT or UINT column with one "
            "further size, the values of a row"
        )
    return many[0]


def wide_slot(name: str, slot: PooledSlot, inputs: Mapping[str, ColumnSpec]) -> Wide:
    """The slots of a column whose values are not pooled."""
    [column] = slot.columns
    return Wide(name, column, inputs[column].shape[0])


class Singles:
    """Slots of one level with one value a row; their keys are made in one pass."""

    def __init__(
        self, slots: Mapping[str, list[str]], level: Level, levels: Mapping[str, Level]
    ) -> None:
        self.width = len(slots)
        self._level = level
        self._levels = levels
        self._columns = sorted({name for names in slots.values() for name in names})
        self._salts = np.array([salt_of(slot) for slot in slots], np.uint64)
        self._members = np.array(
            [self._columns.index(name) for names in slots.values() for name in names], np.int64
        )
        self._stops = np.cumsum([len(names) for names in slots.values()], dtype=np.int64)

    def keys(self, batch: Batch, count: int) -> NDArray[np.uint64]:
        """uint64[count, slots]; `count` is the batch's rows of this level."""
        columns = np.empty((len(self._columns), count), np.int64)
        read = key_columns(batch, self._columns, self._levels, self._level)
        for place, column in enumerate(read):
            columns[place] = column
        keys = np.empty((count, len(self._salts)), np.uint64)
        combine_slots(columns, self._salts, self._members, self._stops, keys)
        return keys


class Bag:
    """A slot with several values a row, at its level."""

    def __init__(
        self, name: str, slot: PooledSlot, level: Level, inputs: Mapping[str, ColumnSpec]
    ) -> None:
        assert slot.pooling != "none", "values that are not pooled make no bags"
        self.pooling = slot.pooling
        self._name = name
        self._columns = slot.columns
        self._padding = slot.padding
        self._many = slot.columns.index(_column_of_many(name, slot, inputs))
        self._level = level
        self._levels = {name: inputs[name].level for name in slot.columns}

    def keys(self, batch: Batch) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Keys of all values that count, row after row, and where each row's begin and end."""
        columns = key_columns(batch, self._columns, self._levels, self._level)
        values = columns[self._many].astype(np.int64, copy=False)
        counts = np.full(len(values), values.shape[1])
        if self._padding is not None:
            is_value = values != self._padding
            values, counts = values[is_value], np.count_nonzero(is_value, axis=1)
        parts = [
            values.ravel() if place == self._many else np.repeat(column, counts)
            for place, column in enumerate(columns)
        ]
        return hashed_keys(parts, self._name), np.concatenate([[0], np.cumsum(counts)])
