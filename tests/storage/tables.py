"""Small tables for these tests, whose every row tells its key and version."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram.tier import RamTier
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.table import Table

Keys = NDArray[np.uint64]


def keys_of(*numbers: int) -> Keys:
    return np.array(numbers, dtype=np.uint64)


def some_keys(count: int, seed: int = 0) -> Keys:
    """Distinct keys from all over the 64 bits."""
    rng = np.random.default_rng(seed)
    return np.unique(rng.integers(0, 1 << 64, 2 * count, dtype=np.uint64))[:count]


def make_rows(spec: TableSpec, keys: Keys, version: int = 1) -> NDArray[Any]:
    """Row j of key k: a number of k, j and the version, never 0, exact in every dtype."""
    numbers = keys[:, np.newaxis] * np.uint64(31) + np.arange(spec.dim, dtype=np.uint64)
    numbers = (numbers + np.uint64(7 * version)) % np.uint64(100_003) + np.uint64(1)
    return numbers.astype(spec.row_dtype)


def look_up(table: Table, keys: Keys) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Rows and missing mask; the arrays hold rubbish before, to see that all is written."""
    rows = np.full((len(keys), table.spec.dim), 77, dtype=table.spec.row_dtype)
    missing = np.arange(len(keys)) % 2 == 0
    count = table.lookup(keys, rows, missing)
    assert count == np.count_nonzero(missing)
    return rows, missing


def ask(tier: RamTier, keys: Keys, row_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The same of the RAM tier alone."""
    rows = np.full((len(keys), row_bytes), 77, dtype=np.uint8)
    missing = np.arange(len(keys)) % 2 == 0
    count = tier.get_many(keys, rows, missing)
    assert count == np.count_nonzero(missing)
    return rows, missing
