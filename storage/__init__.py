"""The parameter store: tables of rows in RAM, LMDB and RocksDB behind one batch look-up.

A library of its own: it knows `sedp.errors` and nothing else of the engine.

    from sedp.storage import ParameterStore, TableSpec
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sedp.storage.store import ParameterStore
    from sedp.storage.table_spec import TableSpec
    from sedp.storage.tables.miss_policy import MissRule
    from sedp.storage.tables.table import Table
    from sedp.storage.updates.updates import Receipt

__all__ = ["MissRule", "ParameterStore", "Receipt", "Table", "TableSpec"]

_MODULES = {
    "MissRule": "tables.miss_policy",
    "ParameterStore": "store",
    "Receipt": "updates.updates",
    "Table": "tables.table",
    "TableSpec": "table_spec",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the kernels take a moment to load."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
