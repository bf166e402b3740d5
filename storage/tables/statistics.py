"""Frozen snapshots of a table and of a whole store."""

from __future__ import annotations

from dataclasses import dataclass

from sedp.storage.placement.mover import MoveStatistics
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.miss_policy import MissStatistics
from sedp.storage.tier import TierStatistics


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """Counts of one table version since the store was opened.

    Args:
        rows: rows the version had when it was imported.
        lookups: keys looked up.
        defaults: keys answered with the default row.
        tiers: in the order they are asked.
        resident: all rows are in RAM, and no tier below it is asked.
        misses: what became of keys that only RocksDB could have answered.
    """

    spec: TableSpec
    rows: int
    lookups: int
    defaults: int
    tiers: tuple[TierStatistics, ...]
    resident: bool
    misses: MissStatistics


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts of the current versions since the store was opened.

    Args:
        ram_bytes_max: the RAM budget.
        ram_bytes: how much of it the tables' caches may fill.
        tables: by name.
        moves: rows that went up and down between tiers.
    """

    ram_bytes_max: int
    ram_bytes: int
    tables: tuple[TableStatistics, ...]
    moves: MoveStatistics
