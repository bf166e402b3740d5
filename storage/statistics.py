"""Frozen snapshots of a whole store."""

from __future__ import annotations

from dataclasses import dataclass

from sedp.storage.table import TableStatistics


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts of the current versions since the store was opened.

    Args:
        ram_bytes_max: the RAM budget.
        ram_bytes: how much of it the tables' caches may fill.
        tables: by name.
    """

    ram_bytes_max: int
    ram_bytes: int
    tables: tuple[TableStatistics, ...]
