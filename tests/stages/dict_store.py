"""A store at the port, made of plain dicts: the reference for what stages look up."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.errors import StoreError

Row = Sequence[float]


@dataclass(frozen=True)
class DictTableSpec:
    dim: int
    dtype: str
    version: int = 1


@dataclass
class DictTable:
    """Rows by key; `asked` keeps the keys of every look-up, one array a call.

    As strict as the port allows any table to be: it takes C-contiguous arrays of the exact dtype
    and shape, and nothing else.
    """

    spec: DictTableSpec
    rows: Mapping[int, Row]
    default: Row
    asked: list[NDArray[np.uint64]] = field(default_factory=list)

    def lookup(self, keys: NDArray[np.uint64], out: Array, missing: NDArray[np.bool_]) -> int:
        assert keys.dtype == np.uint64
        assert out.dtype == np.dtype(self.spec.dtype)
        assert out.shape == (len(keys), self.spec.dim)
        assert missing.dtype == np.bool_
        assert missing.shape == keys.shape
        for array in (keys, out, missing):
            assert array.flags.c_contiguous
            assert array.flags.aligned
        self.asked.append(keys.copy())
        for place, key in enumerate(keys.tolist()):
            out[place] = self.rows.get(key, self.default)
            missing[place] = key not in self.rows
        return int(missing.sum())

    def lookup_bags(
        self, keys: NDArray[np.uint64], offsets: NDArray[np.int64], out: Array, mode: str
    ) -> int:
        assert mode in ("sum", "mean")
        assert offsets.dtype == np.int64
        assert offsets.shape == (len(out) + 1,)
        assert out.flags.c_contiguous
        rows = np.empty((len(keys), self.spec.dim), self.spec.dtype)
        missing = np.empty(len(keys), np.bool_)
        unknown = self.lookup(keys, rows, missing)
        for bag in range(len(out)):
            members = rows[offsets[bag] : offsets[bag + 1]]
            out[bag] = members.sum(axis=0) / (max(len(members), 1) if mode == "mean" else 1)
        return unknown


class DictStore:
    """Tables by name."""

    def __init__(self) -> None:
        self.tables: dict[str, DictTable] = {}
        self.publications = 0

    def add(
        self, name: str, dtype: str, rows: Mapping[int, Row], default: Row | None = None
    ) -> DictTable:
        """A table of these rows; keys are what `uint64` makes of them."""
        dim = len(next(iter(rows.values())))
        table = DictTable(
            DictTableSpec(dim, dtype),
            {key % 2**64: row for key, row in rows.items()},
            [0] * dim if default is None else default,
        )
        self.tables[name] = table
        return table

    def table(self, name: str, version: int | None = None) -> DictTable:
        if name not in self.tables:
            near = difflib.get_close_matches(name, self.tables, n=1)
            raise StoreError(f"there is no table {name!r}; did you mean {near}?")
        return self.tables[name]
