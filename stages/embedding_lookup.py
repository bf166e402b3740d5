"""Embedding look-up: one table, many slots, one batched look-up per level.

A slot is a feature whose value has an embedding of its own: an id, or a cross of several. Its key
is a hash of (slot, ids), so all slots of a model share one table, and a batch asks the store
twice: once for the slots that belong to the request (looked up once a request, not once a
candidate) and once for those that belong to the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Resources, Stage, Table
from sedp.stages.table_keys import key_columns, level_of, open_table
from sedp.storage.keys import combine_slots, salt_of

FLOAT32 = np.dtype(np.float32)


class _Group:
    """The slots of one level and where their rows go: `output` FP32[rows, slots, dim]."""

    def __init__(self, level: Level, output: str, slots: Mapping[str, list[str]]) -> None:
        self.level = level
        self.output = output
        self.columns = sorted({name for names in slots.values() for name in names})
        self._salts = np.array([salt_of(slot) for slot in slots], np.uint64)
        self._members = np.array(
            [self.columns.index(name) for names in slots.values() for name in names], np.int64
        )
        self._stops = np.cumsum([len(names) for names in slots.values()], dtype=np.int64)

    @property
    def slot_count(self) -> int:
        return len(self._salts)

    def keys(self, columns: NDArray[np.int64]) -> NDArray[np.uint64]:
        """uint64[n, slots] from int64[len(self.columns), n]."""
        keys = np.empty((columns.shape[1], self.slot_count), np.uint64)
        combine_slots(columns, self._salts, self._members, self._stops, keys)
        return keys


class EmbeddingLookup(Stage):
    """Looks up one embedding per slot: once a request for its own slots, once a candidate else."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        table: Annotated[str, msgspec.Meta(description="Embedding table in the store.")]
        dim: Annotated[int, msgspec.Meta(ge=1, le=4096, description="Floats of one row.")]
        slots: Annotated[
            dict[str, list[str]],
            msgspec.Meta(
                min_length=1,
                description="Slot name to the integer columns that make its key; the order of "
                "slots is the order of rows in the outputs.",
            ),
        ]
        request_output: Annotated[
            str, msgspec.Meta(description="Column for slots with one key a request.")
        ] = "user_embedding"
        item_output: Annotated[
            str, msgspec.Meta(description="Column for slots with one key a candidate.")
        ] = "item_embedding"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        for slot, names in params.slots.items():
            if not names:
                raise ValueError(f"slot {slot!r} has no columns; name at least one integer column")
        if params.request_output == params.item_output:
            raise ValueError(
                f"request_output and item_output are both {params.item_output!r}; rename one"
            )
        self._levels: dict[str, Level] = {}
        self._groups: list[_Group] = []
        self._table: Table | None = None

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {name: None for names in self.params.slots.values() for name in names}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        self._levels = {name: spec.level for name, spec in inputs.items()}
        self._groups = []
        outputs = {
            Level.REQUEST: self.params.request_output,
            Level.ITEM: self.params.item_output,
        }
        for level, output in outputs.items():
            slots = {
                slot: names
                for slot, names in self.params.slots.items()
                if level_of(names, inputs) is level
            }
            if slots:
                self._groups.append(_Group(level, output, slots))
        return {
            group.output: ColumnSpec("FP32", group.level, (group.slot_count, self.params.dim))
            for group in self._groups
        }

    def open(self, resources: Resources) -> None:
        self._table = open_table(resources, self.params.table, self.params.dim, FLOAT32)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {group.output: self._looked_up(batch, group) for group in self._groups}

    def _looked_up(self, batch: Batch, group: _Group) -> Array:
        assert self._table is not None, "process before open"
        count = batch.event_count if group.level is Level.REQUEST else batch.row_count
        columns = np.empty((len(group.columns), count), np.int64)
        for place, column in enumerate(
            key_columns(batch, group.columns, self._levels, group.level)
        ):
            columns[place] = column
        keys = group.keys(columns)
        rows = np.empty((keys.size, self.params.dim), FLOAT32)
        self._table.lookup(keys.ravel(), rows, np.empty(keys.size, np.bool_))
        return rows.reshape(count, group.slot_count, self.params.dim)
