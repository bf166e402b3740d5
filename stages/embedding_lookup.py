"""Embedding look-up: one table, many slots, one batched look-up per level.

A slot is a feature whose value has an embedding of its own: an id, or a cross of several. Its key
is a hash of (slot, ids), so all slots of a model share one table, and a batch asks the store
twice: once for the slots that belong to the request (looked up once a request, not once a
candidate) and once for those that belong to the candidates. A slot with several values a row asks
once more, and pools their embeddings into one, or keeps them all as so many slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Resources, Stage, Table
from sedp.stages.embedding_slots import Bag, PooledSlot, Singles, slot_level, wide_slot
from sedp.stages.table_keys import open_table
from sedp.stages.wide_slots import BUCKETS_MAX, Wide, share_out

FLOAT32 = np.dtype(np.float32)

Slots = Mapping[str, list[str] | PooledSlot]


class _Group:
    """The slots of one level and where their rows go: `output` FP32[rows, slot_count, dim]."""

    def __init__(
        self, level: Level, output: str, slots: Slots, inputs: Mapping[str, ColumnSpec]
    ) -> None:
        levels = {name: spec.level for name, spec in inputs.items()}
        singles: dict[str, list[str]] = {}
        single_places: list[int] = []
        wide: list[tuple[Wide, range]] = []
        place = 0
        self.bags: dict[int, Bag] = {}
        for name, slot in slots.items():
            if isinstance(slot, list):
                singles[name] = slot
                single_places.append(place)
            elif slot.pooling == "none":
                own = wide_slot(name, slot, inputs)
                wide.append((own, range(place, place + own.width)))
                place += own.width - 1
            else:
                self.bags[place] = Bag(name, slot, level, inputs)
            place += 1
        self.level = level
        self.output = output
        self.slot_count = place
        self._keyed: list[Singles | Wide] = [own for own, _ in wide]
        self.keyed_places = [one for _, places in wide for one in places]
        if singles:
            self._keyed.insert(0, Singles(singles, level, levels))
            self.keyed_places[:0] = single_places
        self.is_plain = self.keyed_places == list(range(place))  # no bags, nothing to be moved

    def keys(self, batch: Batch, count: int) -> NDArray[np.uint64]:
        """uint64[count, len(keyed_places)]: all that are looked up one by one."""
        keys = [keyed.keys(batch, count) for keyed in self._keyed]
        return keys[0] if len(keys) == 1 else np.concatenate(keys, axis=1)


class EmbeddingLookup(Stage):
    """Looks up one embedding per slot: once a request for its own slots, once a candidate else."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        table: Annotated[str, msgspec.Meta(description="Embedding table in the store.")]
        dim: Annotated[int, msgspec.Meta(ge=1, le=4096, description="Floats of one row.")]
        slots: Annotated[
            dict[str, list[str] | PooledSlot],
            msgspec.Meta(
                min_length=1,
                description="Slot name to the integer columns that make its key, or to a mapping "
                "where one of them has several values a row; the order of slots is the order of "
                "rows in the outputs.",
            ),
        ]
        buckets: Annotated[
            Annotated[int, msgspec.Meta(ge=1, le=BUCKETS_MAX)] | None,
            msgspec.Meta(
                description="Rows of a table whose rows are numbered from 0 and shared by keys (the "
                "hashing trick). Default: the table has a row for each key."
            ),
        ] = None
        request_output: Annotated[
            str, msgspec.Meta(description="Column for slots with one key a request.")
        ] = "user_embedding"
        item_output: Annotated[
            str, msgspec.Meta(description="Column for slots with one key a candidate.")
        ] = "item_embedding"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        for slot, names in self._columns.items():
            if not names:
                raise ValueError(f"slot {slot!r} has no columns; name at least one integer column")
        if params.request_output == params.item_output:
            raise ValueError(
                f"request_output and item_output are both {params.item_output!r}; rename one"
            )
        self._groups: list[_Group] = []
        self._table: Table | None = None

    @property
    def _columns(self) -> dict[str, list[str]]:
        return {
            name: slot if isinstance(slot, list) else slot.columns
            for name, slot in self.params.slots.items()
        }

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {name: None for names in self._columns.values() for name in names}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        self._groups = []
        outputs = {
            Level.REQUEST: self.params.request_output,
            Level.ITEM: self.params.item_output,
        }
        for level, output in outputs.items():
            slots = {
                name: slot
                for name, slot in self.params.slots.items()
                if slot_level(name, slot, inputs) is level
            }
            if slots:
                self._groups.append(_Group(level, output, slots, inputs))
        return {
            group.output: ColumnSpec("FP32", group.level, (group.slot_count, self.params.dim))
            for group in self._groups
        }

    def open(self, resources: Resources) -> None:
        self._table = open_table(resources, self.params.table, self.params.dim, FLOAT32)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        assert self._table is not None, "process before open"
        return {group.output: self._looked_up(self._table, batch, group) for group in self._groups}

    def _looked_up(self, table: Table, batch: Batch, group: _Group) -> Array:
        count = batch.event_count if group.level is Level.REQUEST else batch.row_count
        shape = count, group.slot_count, self.params.dim
        if group.is_plain:
            return self._keyed_rows(table, batch, group, count).reshape(shape)
        rows = np.empty(shape, FLOAT32)
        if group.keyed_places:
            keyed = self._keyed_rows(table, batch, group, count)
            rows[:, group.keyed_places] = keyed.reshape(count, -1, self.params.dim)
        for place, bag in group.bags.items():
            keys, offsets = bag.keys(batch)
            pooled = np.empty((count, self.params.dim), FLOAT32)
            table.lookup_bags(self._shared_out(keys), offsets, pooled, bag.pooling)
            rows[:, place] = pooled
        return rows

    def _keyed_rows(self, table: Table, batch: Batch, group: _Group, count: int) -> Array:
        keys = self._shared_out(group.keys(batch, count).ravel())
        rows = np.empty((keys.size, self.params.dim), FLOAT32)
        table.lookup(keys, rows, np.empty(keys.size, np.bool_))
        return rows

    def _shared_out(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        if self.params.buckets is not None:
            share_out(keys, self.params.buckets)
        return keys
