"""What a table holds, and how its rows are stored."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.rows.bucket import Layout
from sedp.storage.rows.codec import ROW_FORMATS, RowFormat, decode_rows, encode_rows, stored_bytes
from sedp.storage.tier import Rows

DIM_MAX = 4096
DTYPES = ("float32", "int32", "int64")


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a table holds.

    Args:
        name: 1 to 64 of `a-z 0-9 _ -`, starting with a letter or digit.
        dim: numbers in a row, 1..4096.
        dtype: "float32", "int32" or "int64".
        default: the row of a key that has none; `()` is zeros.
        version: 1, 2, …; given by the store on import, 0 before.
        columns: names of the numbers of a row; `()` when they have none.
        row_format: how rows are stored: "float32", "float16" or "int8"; other than the first only
            for dtype "float32".
        layout: "hashed" for any keys; "dense" for keys 0..n-1, most of which have a row: LMDB is
            then a quarter smaller and twice as fast.

    Raises:
        StoreError: one of these is out of bounds; the message says the mend.
    """

    name: str
    dim: int
    dtype: str
    default: tuple[float | int, ...] = ()
    version: int = 0
    columns: tuple[str, ...] = ()
    row_format: RowFormat = "float32"
    layout: Layout = "hashed"

    def __post_init__(self) -> None:
        if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", self.name) is None:
            raise StoreError(
                f"table name {self.name!r} must be 1 to 64 of a-z, 0-9, _ and -, "
                "and start with a letter or digit"
            )
        if not 1 <= self.dim <= DIM_MAX:
            raise StoreError(f"table {self.name!r}: dim {self.dim} must be 1..{DIM_MAX}")
        if self.dtype not in DTYPES:
            raise StoreError(
                f"table {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}"
            )
        if self.row_format not in (ROW_FORMATS if self.dtype == "float32" else ROW_FORMATS[:1]):
            raise StoreError(
                f"table {self.name!r}: row_format {self.row_format!r} with dtype {self.dtype!r}; "
                f"store float32 rows as one of {', '.join(ROW_FORMATS)}, others as they are"
            )
        if self.layout not in get_args(Layout):
            raise StoreError(
                f"table {self.name!r}: layout {self.layout!r} is not one of "
                + ", ".join(get_args(Layout))
            )
        for what, values in (("default", self.default), ("columns", self.columns)):
            if len(values) not in (0, self.dim):
                raise StoreError(
                    f"table {self.name!r}: {what} has {len(values)} values; give dim={self.dim} "
                    "of them, or none"
                )
        if len(set(self.columns)) < len(self.columns):
            raise StoreError(f"table {self.name!r}: columns repeat a name; name each one once")
        for value in self.default:
            if not self._can_hold(value):
                raise StoreError(
                    f"table {self.name!r}: default {value} is no {self.dtype}; use a number of "
                    "that type, or make the table of another"
                )

    def _can_hold(self, value: float | int) -> bool:
        if self.dtype == "float32":
            return not math.isfinite(value) or abs(value) <= float(np.finfo(np.float32).max)
        bounds = np.iinfo(self.dtype)
        return bounds.min <= value <= bounds.max and value == int(value)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """The dtype of one number of a row."""
        return np.dtype(self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a stored row; a multiple of 4."""
        if self.dtype == "float32":
            return stored_bytes(self.row_format, self.dim)
        return self.dim * self.row_dtype.itemsize

    @property
    def default_row(self) -> NDArray[Any]:
        """dtype[dim]."""
        return np.array(self.default or (0,) * self.dim, dtype=self.row_dtype)

    def stores_as(self, other: TableSpec) -> bool:
        """Rows of the other table are stored just as this one's."""
        mine = self.dtype, self.dim, self.row_format
        return mine == (other.dtype, other.dim, other.row_format)

    def encode(self, rows: NDArray[Any]) -> Rows:
        """uint8[n, row_bytes] as stored, of dtype[n, dim].

        Raises:
            StoreError: a number that the row format cannot hold.
        """
        if self.row_format == "float32":
            return np.ascontiguousarray(rows).view(np.uint8)
        return encode_rows(rows, self.row_format)

    def decode(self, stored: Rows, out: NDArray[Any]) -> None:
        """Write dtype[n, dim] of stored rows to `out`."""
        if self.row_format == "float32":
            out.view(np.uint8)[:] = stored
        else:
            decode_rows(stored, self.row_format, out)


def check_same_table(current: TableSpec, spec: TableSpec) -> None:
    """Raises StoreError unless rows of `spec` can join those of the table as it is."""
    if replace(current, version=0) != replace(spec, version=0):
        raise StoreError(
            f"import onto table {spec.name!r}: it is {current}, the rows are for {spec}; give "
            "the same spec, or import the table whole"
        )
