"""Feature fetch: turns ids into features by looking rows up in feature tables.

Fetches run in the order written, so a later key may use columns of an earlier fetch (a product's
category, say). Unknown ids get the table's default row: an answer, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from sedp.columns import DTYPES, Array, Batch, ColumnSpec, Level, zero_batch
from sedp.stage import Resources, Stage, Table
from sedp.stages.table_keys import hashed_keys, key_columns, level_of, open_table, raw_keys


class Fetch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One look-up: which table, by which key, into which columns."""

    table: Annotated[str, msgspec.Meta(description="Feature table in the store.")]
    key: Annotated[
        list[str],
        msgspec.Meta(min_length=1, description="Integer columns that make the key."),
    ]
    hashed: Annotated[
        bool | None,
        msgspec.Meta(
            description="Mix the key columns into a 64-bit hash. Default: only when there are "
            "several; a single id is its own key."
        ),
    ] = None
    datatype: Annotated[str, msgspec.Meta(description="Datatype of the table's rows.")] = "INT32"
    columns: Annotated[
        list[str],
        msgspec.Meta(description="One scalar column for each element of a row, in order."),
    ] = []
    output: Annotated[
        str | None, msgspec.Meta(description="Instead: the whole row as one vector column.")
    ] = None
    dim: Annotated[int, msgspec.Meta(ge=0, description="Elements of a row, with `output`.")] = 0

    @property
    def is_hashed(self) -> bool:
        return len(self.key) > 1 if self.hashed is None else self.hashed

    @property
    def row_dim(self) -> int:
        return self.dim if self.output else len(self.columns)

    def provides(self, level: Level) -> dict[str, ColumnSpec]:
        if self.output:
            return {self.output: ColumnSpec(self.datatype, level, (self.dim,))}
        return {name: ColumnSpec(self.datatype, level) for name in self.columns}


@dataclass(frozen=True, slots=True)
class _Source:
    """A fetch with its table opened and its level known."""

    fetch: Fetch
    table: Table
    level: Level
    key_levels: Mapping[str, Level]


class FeatureFetch(Stage):
    """Turns ids into features: looks rows up in feature tables, into scalar or vector columns."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        fetches: Annotated[
            list[Fetch], msgspec.Meta(min_length=1, description="Look-ups, run in this order.")
        ]

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._levels: dict[str, Level] = {}
        self._sources: list[_Source] = []
        for fetch in params.fetches:
            _check(fetch)

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        needed: dict[str, ColumnSpec | None] = {}
        made: set[str] = set()
        for fetch in self.params.fetches:
            needed |= dict.fromkeys(name for name in fetch.key if name not in made)
            made |= fetch.provides(Level.REQUEST).keys()
        return needed

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        known = dict(inputs)
        for fetch in self.params.fetches:
            made = fetch.provides(level_of(fetch.key, known))
            if doubled := made.keys() & known.keys():
                raise ValueError(
                    f"table {fetch.table!r} is fetched into {sorted(doubled)}, which exist "
                    "already; choose other column names"
                )
            known |= made
        self._levels = {name: spec.level for name, spec in known.items()}
        return {name: spec for name, spec in known.items() if name not in inputs}

    def open(self, resources: Resources) -> None:
        for fetch in self.params.fetches:
            table = open_table(resources, fetch.table, fetch.row_dim, DTYPES[fetch.datatype])
            levels = {name: self._levels[name] for name in fetch.key}
            level = Level.ITEM if Level.ITEM in levels.values() else Level.REQUEST
            self._sources.append(_Source(fetch, table, level, levels))

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        """No events: what looks up is loaded, and nobody's counters or access log see a key."""
        return (zero_batch(inputs, ()),)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        columns = dict(batch.columns)
        known = Batch(columns, batch.splits)  # grows with each fetch; keeps `owners` for all
        for source in self._sources:
            columns.update(_fetched(source, known))
        return {name: column for name, column in columns.items() if name not in batch.columns}


def _fetched(source: _Source, batch: Batch) -> dict[str, Array]:
    fetch = source.fetch
    parts = key_columns(batch, fetch.key, source.key_levels, source.level)
    keys = hashed_keys(parts, fetch.table) if fetch.is_hashed else raw_keys(parts[0])
    rows = np.empty((len(keys), fetch.row_dim), DTYPES[fetch.datatype])
    source.table.lookup(keys, rows, np.empty(len(keys), np.bool_))
    if fetch.output:
        return {fetch.output: rows}
    return {name: rows[:, element] for element, name in enumerate(fetch.columns)}


def _check(fetch: Fetch) -> None:
    if fetch.datatype not in DTYPES or fetch.datatype == "BYTES":
        raise ValueError(
            f"table {fetch.table!r}: datatype {fetch.datatype!r} has no fixed size; "
            "use INT32, INT64 or FP32"
        )
    if bool(fetch.output) == bool(fetch.columns):
        raise ValueError(
            f"table {fetch.table!r}: give either `columns` (scalars) or `output` (one vector)"
        )
    if len(set(fetch.columns)) < len(fetch.columns):
        raise ValueError(
            f"table {fetch.table!r}: `columns` {fetch.columns} repeat a name; name each one once"
        )
    if fetch.output and fetch.dim < 1:
        raise ValueError(f"table {fetch.table!r}: `output` needs `dim` ≥ 1, the row's elements")
    if len(fetch.key) > 1 and fetch.hashed is False:
        raise ValueError(
            f"table {fetch.table!r}: several key columns must be hashed; remove `hashed: false`"
        )
