"""A small table that updates change, and what must be seen of it afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import Keys, look_up, make_rows, some_keys

SPEC = TableSpec("user", 3, "int32", default=(7, 8, 9))
KEYS = some_keys(2000)
NEW = some_keys(20, seed=5)


def rows_of(keys: Keys, version: int) -> Any:
    return make_rows(SPEC, keys, version)


def fill(store: ParameterStore) -> None:
    store.import_table(SPEC, [(KEYS, rows_of(KEYS, 1))])


def check(store: ParameterStore, changed: Keys, version: int) -> None:
    """`changed` have the rows of `version`, all others those of the import."""
    rows, missing = look_up(store.table("user"), np.concatenate([KEYS, NEW]))
    expected = np.concatenate([rows_of(KEYS, 1), np.tile(np.int32(SPEC.default), (len(NEW), 1))])
    for at in np.flatnonzero(np.isin(np.concatenate([KEYS, NEW]), changed)):
        expected[at] = rows_of(np.concatenate([KEYS, NEW])[at : at + 1], version)
    assert (rows == expected).all()
    assert (missing[len(KEYS) :] == ~np.isin(NEW, changed)).all()
