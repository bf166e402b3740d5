"""A recording: requests as they came, in columns, with what is known about their answers.

Stored as `.npz`. Every array that is not one of the four with a meaning here is a column to send,
of one row a request or one row an item; which of the two, the pipeline's inputs say. Read with
`allow_pickle=False`: a data file must not run code.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.errors import ConfigError

WEEK = "week"  # the column by which `in_weeks` selects


@dataclass(frozen=True, slots=True)
class Recording:
    """Requests in the order in which they came.

    Args:
        ts_s: int64[r], seconds, ascending.
        splits: int64[r + 1], from 0; request `i` owns item rows `splits[i]:splits[i + 1]`.
        columns: arrays of r or `splits[-1]` rows.
        label: int8[rows] of 0 and 1, what came of each item, or `None`.
        expected_score: float32[rows], scores of a reference, or `None`.
    """

    ts_s: NDArray[np.int64]
    splits: NDArray[np.int64]
    columns: Mapping[str, Array]
    label: NDArray[np.int8] | None = None
    expected_score: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ts_s)

    @property
    def row_count(self) -> int:
        return int(self.splits[-1])

    def in_weeks(self, first: int, last: int) -> Recording:
        """Only the requests whose `week` is in `[first, last]`.

        Raises:
            ConfigError: there is no such column, or no request in these weeks.
        """
        week = self.columns.get(WEEK)
        if week is None or len(week) != len(self):
            raise ConfigError(f"recording: no column {WEEK!r} of one row a request to select by")
        wanted = (week >= first) & (week <= last)
        if not wanted.any():
            raise ConfigError(
                f"recording: no request in weeks {first}-{last}; it holds {week.min()}-{week.max()}"
            )
        return self._only(wanted)

    def first(self, count: int) -> Recording:
        """Only the first `count` requests."""
        return self._only(np.arange(len(self)) < count)

    def _only(self, wanted: NDArray[np.bool_]) -> Recording:
        sizes = np.diff(self.splits)
        rows = np.repeat(wanted, sizes)
        masks = {len(rows): rows, len(wanted): wanted}  # requests of one row each: both the same
        return replace(
            self,
            ts_s=self.ts_s[wanted],
            splits=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[wanted])]),
            columns={name: array[masks[len(array)]] for name, array in self.columns.items()},
            label=None if self.label is None else self.label[rows],
            expected_score=None if self.expected_score is None else self.expected_score[rows],
        )


def load_recording(path: Path) -> Recording:
    """Read and check a recording.

    Raises:
        ConfigError: not a readable `.npz`, or its arrays do not fit together.
    """
    try:
        arrays = _load_arrays(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as err:
        raise ConfigError(f"{path}: not a readable recording (.npz): {err}") from err
    try:
        recording = Recording(
            arrays.pop("ts_s"),
            arrays.pop("splits"),
            arrays,
            arrays.pop("label", None),
            arrays.pop("expected_score", None),
        )
    except KeyError as err:
        raise ConfigError(f"{path}: array {err} is missing; a recording needs it") from err
    if problem := _problem(recording):
        raise ConfigError(f"{path}: {problem}")
    return recording


def _load_arrays(path: Path) -> dict[str, Array]:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it holds a single array without a name")
        with loaded:
            return {name: loaded[name] for name in loaded.files}


def _problem(recording: Recording) -> str:
    """What does not fit together, or `""`."""
    ts_s, splits = recording.ts_s, recording.splits
    if ts_s.dtype != np.int64 or ts_s.ndim != 1 or not len(ts_s) or (np.diff(ts_s) < 0).any():
        return "'ts_s' must be int64[r], ascending, with at least one request"
    if splits.dtype != np.int64 or splits.shape != (len(ts_s) + 1,):
        return f"'splits' must be int64[{len(ts_s) + 1}], one more than there are requests"
    if splits[0] != 0 or (np.diff(splits) < 1).any():
        return "'splits' must begin with 0 and give every request at least one row"
    for name, array in recording.columns.items():
        if array.ndim < 1 or len(array) not in (len(ts_s), splits[-1]):
            return (
                f"column {name!r} has shape {array.shape}; it needs {len(ts_s)} rows (one a "
                f"request) or {splits[-1]} (one an item)"
            )
    for name in ("label", "expected_score"):
        array = getattr(recording, name)
        if array is not None and array.shape != (splits[-1],):
            return f"{name!r} has shape {array.shape}; it needs {splits[-1]} rows (one an item)"
    return ""
