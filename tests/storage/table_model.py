"""What a table should be, as plain dicts from key to the one number that makes its row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sedp.storage.table_spec import TableSpec


@dataclass
class TableModel:
    """What a table should be."""

    current: int = 0
    versions: dict[int, tuple[TableSpec, dict[int, int]]] = field(default_factory=dict)
    below: dict[int, int] = field(default_factory=dict)  # how many each chains on

    def publish(self, spec: TableSpec, row_of: dict[int, int], below: int = 0) -> None:
        kept = {v: held for v, held in self.versions.items() if v == self.current}
        self.versions = {**kept, spec.version: (spec, row_of)}
        self.below[spec.version] = below
        self.current = spec.version


def rows_of(spec: TableSpec, numbers: list[int]) -> Any:
    """Rows of one number each, as they are given to the store."""
    return np.repeat(np.array(numbers, spec.row_dtype)[:, np.newaxis], spec.dim, axis=1)


def expected_rows(spec: TableSpec, row_of: dict[int, int], wanted: list[int]) -> Any:
    """Rows as they come back: rounded by their format; of an unknown key the default."""
    rows = rows_of(spec, [row_of.get(key, 0) for key in wanted])
    expected = np.empty_like(rows)
    spec.decode(spec.encode(rows), expected)
    expected[[key not in row_of for key in wanted]] = spec.default_row
    return expected
