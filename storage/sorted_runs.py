"""Sorts more rows than fit in memory: sorted runs on disk, merged block by block.

The bulk formats of both cold tiers want ascending keys; training jobs deliver any order, in
chunks, and may repeat a key, of which the last counts. Memory is bounded by one run and one block,
three times that while they are sorted, whatever the table's size. Every block becomes a file that
RocksDB keeps open, so blocks of a large table grow, to keep their number at 256 up to 64 GiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.storage.tier import Keys, Rows

RUN_BYTES = 64 << 20
BLOCK_BYTES = 16 << 20
BLOCKS_MAX = 256
BLOCK_GROWTH_MAX = 16

Run = tuple[Keys, Rows]


class SortedRuns:
    """Collects rows of `row_bytes` bytes in any order, gives them back in the order of their keys.

    Args:
        folder: where the runs go; it must exist, and the caller removes it.
        run_bytes: memory for the run being filled.
        block_bytes: size of a block given back, up to 16 times that in a large table.
    """

    def __init__(
        self,
        folder: Path,
        row_bytes: int,
        run_bytes: int = RUN_BYTES,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._folder = folder
        self._block_rows = max(1, block_bytes // (8 + row_bytes))
        run_rows = max(1, run_bytes // (8 + row_bytes))
        self._keys = np.empty(run_rows, dtype=np.uint64)
        self._rows = np.empty((run_rows, row_bytes), dtype=np.uint8)
        self._filled = 0
        self._runs: list[Run] = []
        self.row_count = 0  # rows added, repeated keys included

    def add(self, keys: Keys, rows: Rows) -> None:
        """Take a chunk; where it repeats a key of an earlier one, it wins."""
        self.row_count += len(keys)
        taken = 0
        while taken < len(keys):
            count = min(len(keys) - taken, len(self._keys) - self._filled)
            place = slice(self._filled, self._filled + count)
            self._keys[place] = keys[taken : taken + count]
            self._rows[place] = rows[taken : taken + count]
            taken += count
            self._filled += count
            if self._filled == len(self._keys):
                self._spill()

    def _spill(self) -> None:
        keys, rows = self._sorted_rest()
        self._runs.append((self._on_disk("keys", keys), self._on_disk("rows", rows)))
        self._filled = 0

    def _on_disk(self, part: str, array: NDArray[Any]) -> NDArray[Any]:
        path = self._folder / f"{part}-{len(self._runs)}.npy"
        np.save(path, array, allow_pickle=False)
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped

    def _sorted_rest(self) -> Run:
        return sort_last_wins(self._keys[: self._filled], self._rows[: self._filled])

    def blocks(self) -> Iterator[Run]:
        """Everything added, ascending, each key once, in blocks of bounded size."""
        runs = [*self._runs, self._sorted_rest()]
        starts = [0] * len(runs)
        growth = min(self.row_count // BLOCKS_MAX // self._block_rows + 1, BLOCK_GROWTH_MAX)
        step = max(1, growth * self._block_rows // len(runs))
        while any(start < len(keys) for start, (keys, _) in zip(starts, runs, strict=True)):
            stops = _stops(runs, starts, step)
            parts = [
                (keys[start:stop], rows[start:stop])
                for (keys, rows), start, stop in zip(runs, starts, stops, strict=True)
                if start < stop
            ]
            yield parts[0] if len(parts) == 1 else _merged(parts)
            starts = stops


def _stops(runs: list[Run], starts: list[int], step: int) -> list[int]:
    """Ends of the next block in every run: all keys up to the lowest key a run's step ends at.

    That run takes its whole step, so every block makes progress; no run takes more than a step.
    """
    ends = [
        keys[min(start + step, len(keys)) - 1]
        for start, (keys, _) in zip(starts, runs, strict=True)
        if start < len(keys)
    ]
    bound = min(ends)
    return [
        start + int(np.searchsorted(keys[start : start + step], bound, side="right"))
        for start, (keys, _) in zip(starts, runs, strict=True)
    ]


def _merged(parts: list[Run]) -> Run:
    keys = np.concatenate([keys for keys, _ in parts])
    return sort_last_wins(keys, np.concatenate([rows for _, rows in parts]))


def sort_last_wins(keys: NDArray[np.uint64], rows: Rows) -> Run:
    """Ascending and distinct keys with their rows; of equal keys the last stays."""
    order = np.argsort(keys, kind="stable")
    ascending = keys[order]
    last = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=last[:-1])
    return ascending[last], rows[order[last]]
