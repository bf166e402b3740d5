"""Sorts more rows than fit in memory: sorted runs on disk, merged block by block.

Both cold tiers are filled in the order of the places of keys (see `bucket`); training jobs deliver
any order, in chunks, and may repeat a key, of which the last counts. Memory is bounded by two runs
and one block, three times that while they are sorted, whatever the table's size. Every block
becomes a file that RocksDB keeps open, so blocks of a large table grow, to keep their number at 256
up to 64 GiB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.storage.rows.bucket import Layout, places_of
from sedp.storage.tier import Keys, Rows

RUN_BYTES = 64 << 20
BLOCK_BYTES = 16 << 20
BLOCKS_MAX = 256
BLOCK_GROWTH_MAX = 16

Run = tuple[Keys, Rows]  # places, ascending, and their rows


class SortedRuns:
    """Collects rows of `row_bytes` bytes in any order, gives them back in the order of places.

    Args:
        folder: where the runs go; it must exist, and the caller removes it.
        layout: of the table; says which place a key has.
        spilled: told how many runs are on disk, and rows in them, for `resume`.
        run_bytes: memory for the run being filled.
        block_bytes: size of a block given back, up to 16 times that in a large table.
    """

    def __init__(
        self,
        folder: Path,
        row_bytes: int,
        layout: Layout = "hashed",
        spilled: Callable[[int, int], None] | None = None,
        run_bytes: int = RUN_BYTES,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._folder = folder
        self._block_rows = max(1, block_bytes // (8 + row_bytes))
        run_rows = max(1, run_bytes // (8 + row_bytes))
        self._layout: Layout = layout
        self._spilled = spilled
        self._run_rows = run_rows
        self._row_bytes = row_bytes
        self._sorting = ThreadPoolExecutor(1, "sedp-sort")
        self._runs: list[Future[Run]] = []
        self._start_run()
        self.row_count = 0  # rows added, repeated keys included
        self.place_max = 0

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Rows are added inside; after an error nothing is written but the runs that were full."""
        try:
            yield
        except BaseException:
            self._sorting.shutdown()
            raise

    def resume(self, runs: int) -> None:
        """Take up so many runs that `spilled` spoke of, in the folder of another life."""
        for number in range(runs):
            run = self._mapped(f"places-{number}"), self._mapped(f"rows-{number}")
            self._runs.append(Future())
            self._runs[-1].set_result(run)
            self.place_max = max(self.place_max, int(run[0][-1]))
        self.row_count = runs * self._run_rows

    def _start_run(self) -> None:
        self._places = np.empty(self._run_rows, dtype=np.uint64)
        self._rows = np.empty((self._run_rows, self._row_bytes), dtype=np.uint8)
        self._filled = 0

    def add(self, keys: Keys, rows: Rows) -> None:
        """Take a chunk; where it repeats a key of an earlier one, it wins."""
        self.row_count += len(keys)
        taken = 0
        while taken < len(keys):
            count = min(len(keys) - taken, len(self._places) - self._filled)
            place = slice(self._filled, self._filled + count)
            self._places[place] = places_of(keys[taken : taken + count], self._layout)
            self.place_max = max(self.place_max, int(self._places[place].max()))
            self._rows[place] = rows[taken : taken + count]
            taken += count
            self._filled += count
            if self._filled == len(self._places):
                self._spill()

    def _spill(self) -> None:
        """Sort the full run and put it on disk, in a thread that does one at a time."""
        if self._runs:
            self._runs[-1].result()
        run = self._places, self._rows
        self._runs.append(self._sorting.submit(self._put_away, len(self._runs), *run))
        self._start_run()

    def _put_away(self, number: int, places: Keys, rows: Rows) -> Run:
        places, rows = sort_last_wins(places, rows)
        run = self._on_disk(f"places-{number}", places), self._on_disk(f"rows-{number}", rows)
        if self._spilled is not None:
            self._spilled(number + 1, (number + 1) * self._run_rows)
        return run

    def _on_disk(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        with (self._folder / f"{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            if self._spilled is not None:
                os.fsync(file.fileno())
        return self._mapped(name)

    def _mapped(self, name: str) -> NDArray[Any]:
        path = self._folder / f"{name}.npy"
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped

    def _sorted_rest(self) -> Run:
        return sort_last_wins(self._places[: self._filled], self._rows[: self._filled])

    def blocks(self) -> Iterator[Run]:
        """Places and rows of everything added, ascending, each key once, in bounded blocks."""
        self._sorting.shutdown()
        runs = [*(run.result() for run in self._runs), self._sorted_rest()]
        starts = [0] * len(runs)
        growth = min(self.row_count // BLOCKS_MAX // self._block_rows + 1, BLOCK_GROWTH_MAX)
        step = max(1, growth * self._block_rows // len(runs))
        while any(start < len(places) for start, (places, _) in zip(starts, runs, strict=True)):
            stops = _stops(runs, starts, step)
            parts = [
                (places[start:stop], rows[start:stop])
                for (places, rows), start, stop in zip(runs, starts, stops, strict=True)
                if start < stop
            ]
            yield parts[0] if len(parts) == 1 else _merged(parts)
            starts = stops


def _stops(runs: list[Run], starts: list[int], step: int) -> list[int]:
    """Ends of the next block in every run: all places up to the lowest that a run's step ends at.

    That run takes its whole step, so every block makes progress; no run takes more than a step.
    """
    ends = [
        places[min(start + step, len(places)) - 1]
        for start, (places, _) in zip(starts, runs, strict=True)
        if start < len(places)
    ]
    bound = min(ends)
    return [
        start + int(np.searchsorted(places[start : start + step], bound, side="right"))
        for start, (places, _) in zip(starts, runs, strict=True)
    ]


def _merged(parts: list[Run]) -> Run:
    places = np.concatenate([places for places, _ in parts])
    return sort_last_wins(places, np.concatenate([rows for _, rows in parts]))


def sort_last_wins(places: Keys, rows: Rows) -> Run:
    """Ascending and distinct places with their rows; of equal places the last stays."""
    order = np.argsort(places)  # several times as fast as a stable sort, which few runs need
    ascending = places[order]
    if not np.any(ascending[1:] == ascending[:-1]):
        return ascending, rows[order]
    order = np.argsort(places, kind="stable")
    last = np.ones(len(places), dtype=np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=last[:-1])
    return ascending[last], rows[order[last]]
