"""Columns with a level: the only form in which data travels between stages.

A request is named numpy columns. A *request*-level column has one row an event (the user, the
context); an *item*-level column has one row a candidate, ragged over events. A `Batch` joins the
rows of several events and keeps `splits`, so rows, not requests, are what limits count, and every
row finds its way home. Datatypes are the names of the Open Inference Protocol v2.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
DATATYPES: Mapping[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items()}

ANY = -1  # in a requirement: any size; on the wire (metadata): a free dimension


class Level(enum.StrEnum):
    """What one row of a column stands for."""

    REQUEST = "request"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """Type of a column.

    Args:
        datatype: a key of `DTYPES`.
        level: what a row stands for.
        shape: sizes of one row's own axes, `()` for a scalar. `ANY` is allowed only in what a
            stage requires, never in what it provides.
    """

    datatype: str
    level: Level
    shape: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[self.datatype]

    def accepts(self, other: ColumnSpec) -> bool:
        """Whether a column of type `other` may be read where `self` is required."""
        return (
            self.datatype == other.datatype
            and self.level == other.level
            and len(self.shape) == len(other.shape)
            and all(want in (ANY, have) for want, have in zip(self.shape, other.shape, strict=True))
        )

    def __str__(self) -> str:
        rows = "1" if self.level is Level.REQUEST else "n"
        return f"{self.datatype}[{', '.join([rows, *_sizes(self.shape)])}]"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A column as it appears on the wire.

    `dims` is the whole shape with `ANY` for the candidate axis. Request level: `[1]` a scalar,
    `[10]` or `[1, 10]` a vector. Item level: `[n]`, `[n, 16]` or `[1, n, 16]`. A leading 1 is the
    batch axis that some clients send; it belongs to the wire, not to the column.
    """

    column: ColumnSpec
    dims: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> TensorSpec:
        """Read a text like `"INT64[n]"`, `"FP32[1, 10]"` or `"INT64[1, n, 16]"`.

        Raises:
            ValueError: with the mend, when the text is none of these.
        """
        match = re.fullmatch(r"\s*(\w+)\s*\[([^\]]*)\]\s*", text)
        if match is None:
            raise ValueError(f"{text!r} is not a tensor type; write it like INT64[n] or FP32[1, 8]")
        datatype, sizes = match[1], [size.strip() for size in match[2].split(",")]
        if datatype not in DTYPES:
            raise ValueError(f"{datatype!r} is not a datatype; known: {', '.join(DTYPES)}")
        own = sizes[1:] if sizes[0] == "1" else sizes
        level = Level.ITEM if own[:1] == ["n"] else Level.REQUEST
        own = own[1:] if level is Level.ITEM else own
        if not all(re.fullmatch(r"[1-9][0-9]{0,8}", size) for size in own):
            raise ValueError(
                f"{text!r}: sizes must be numbers from 1 to 999999999, with at most one n for the "
                "candidates in front, like INT64[n] or FP32[1, n, 16]"
            )
        column = ColumnSpec(datatype, level, tuple(int(size) for size in own))
        return cls(column, tuple(ANY if size == "n" else int(size) for size in sizes))

    def __str__(self) -> str:
        return f"{self.column.datatype}[{', '.join(_sizes(self.dims))}]"


def _sizes(dims: tuple[int, ...]) -> list[str]:
    return ["n" if size == ANY else str(size) for size in dims]


class Batch:
    """Rows of several events, joined for one run of a stage. Never changed once made.

    Args:
        columns: request-level arrays of `event_count` rows and item-level arrays of `row_count`.
        splits: int64[event_count + 1]; event `i` owns item rows `splits[i]:splits[i + 1]`.
    """

    __slots__ = ("_owners", "columns", "event_count", "row_count", "splits")

    def __init__(self, columns: Mapping[str, Array], splits: NDArray[np.int64]) -> None:
        self.columns = columns
        self.splits = splits
        self.event_count = len(splits) - 1
        self.row_count: int = splits.item(-1)
        self._owners: NDArray[np.int64] | None = None

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    @property
    def owners(self) -> NDArray[np.int64]:
        """int64[row_count]: the event each item row belongs to. Computed once a batch."""
        if self._owners is None:
            self._owners = np.repeat(np.arange(self.event_count), np.diff(self.splits))
        return self._owners

    def at_item_level(self, name: str, level: Level) -> Array:
        """The column with one row a candidate, repeating request rows where needed."""
        column = self.columns[name]
        return column if level is Level.ITEM else column[self.owners]


def zero_batch(columns: Mapping[str, ColumnSpec], rows: Sequence[int]) -> Batch:
    """A batch of zeros (empty strings for BYTES), with `rows[i]` candidates in event `i`."""
    splits = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.asarray(rows, np.int64), out=splits[1:])
    counts = {Level.REQUEST: len(rows), Level.ITEM: int(splits[-1])}
    return Batch(
        {
            name: np.full(
                (counts[spec.level], *spec.shape),
                b"" if spec.datatype == "BYTES" else 0,
                spec.dtype,
            )
            for name, spec in columns.items()
        },
        splits,
    )
