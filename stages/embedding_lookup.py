"""Embedding look-up: one table, many slots, one batched look-up.

A slot is a feature whose value has an embedding of its own: an id, or a cross of several. Its key
is a hash of (slot, ids), so all slots of a model share one table, and a batch asks the store once:
for the slots that belong to the request (once a request, not once a candidate) together with those
that belong to the candidates. A slot with several values a row keeps them all as so many slots, or
asks once more and pools their embeddings into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level, zero_batch
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

    def keys(self, batch: Batch) -> NDArray[np.uint64]:
        """uint64[rows, len(keyed_places)]: all that are looked up one by one."""
        count = batch.event_count if self.level is Level.REQUEST else batch.row_count
        keys = [keyed.keys(batch, count) for keyed in self._keyed]
        if len(keys) == 1:
            return keys[0]
        return np.concatenate(keys, axis=1) if keys else np.empty((count, 0), np.uint64)


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
                description="Rows of a table that numbers them from 0 and shares them between keys "
                "(the hashing trick). Default: the table has a row for each key."
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

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        """No events: what looks up is loaded, and nobody's counters or access log see a key."""
        return (zero_batch(inputs, ()),)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        assert self._table is not None, "process before open"
        keyed = self._looked_up(self._table, [group.keys(batch) for group in self._groups])
        return {
            group.output: self._completed(self._table, batch, group, rows)
            for group, rows in zip(self._groups, keyed, strict=True)
        }

    def _looked_up(self, table: Table, keys: list[NDArray[np.uint64]]) -> list[Array]:
        """FP32[rows, places, dim] for each uint64[rows, places], by one look-up of them all."""
        flat = keys[0].ravel() if len(keys) == 1 else np.concatenate([k.ravel() for k in keys])
        found = np.empty((flat.size, self.params.dim), FLOAT32)
        if flat.size:
            table.lookup(self._shared_out(flat), found, np.empty(flat.size, np.bool_))
        parts, start = [], 0
        for own in keys:
            stop = start + own.size
            parts.append(found[start:stop].reshape(*own.shape, self.params.dim))
            start = stop
        return parts

    def _completed(self, table: Table, batch: Batch, group: _Group, keyed: Array) -> Array:
        """The group's output: what was looked up, each in its place, and pooled bags between."""
        if group.is_plain:
            return keyed
        rows = np.empty((len(keyed), group.slot_count, self.params.dim), FLOAT32)
        rows[:, group.keyed_places] = keyed
        for place, bag in group.bags.items():
            keys, offsets = bag.keys(batch)
            pooled = np.empty((len(keyed), self.params.dim), FLOAT32)
            table.lookup_bags(self._shared_out(keys), offsets, pooled, bag.pooling)
            rows[:, place] = pooled
        return rows

    def _shared_out(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        if self.params.buckets is not None:
            share_out(keys, self.params.buckets)
        return keys
