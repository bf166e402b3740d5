"""How far an import from a file got, so that one that was cut off goes on where it stopped.

Written each time a sorted run is on disk. It counts only for the same file, unchanged, and the
same table; another import starts over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sedp.storage.table_spec import TableSpec
from sedp.storage.tier import Keys

_NAME = "progress.json"

ChunksFrom = Callable[[int], Iterator[tuple[Keys, NDArray[Any]]]]


@dataclass(frozen=True, slots=True)
class ImportSource:
    """Where an import that can be resumed takes its rows from.

    Args:
        name: tells it from any other, and from itself when it is changed.
        chunks_from: its chunks from row N on, always in the same order.
    """

    name: str
    chunks_from: ChunksFrom

    @classmethod
    def of_file(cls, path: Path, part: str, chunks_from: ChunksFrom) -> ImportSource:
        """A part of a file, which is known by its path, size and time of change."""
        stat = path.stat()
        return cls(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {part}", chunks_from)


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """What is on disk of an import.

    Args:
        source: `ImportSource.name`.
        spec: of the table, as text.
        runs: sorted runs.
        rows: rows of the source that are in them.
    """

    source: str
    spec: str
    runs: int
    rows: int

    @classmethod
    def start(cls, source: ImportSource, spec: TableSpec) -> ImportProgress:
        """Nothing yet."""
        return cls(source.name, json.dumps(asdict(spec) | {"version": 0}), 0, 0)

    def resumed(self, folder: Path) -> ImportProgress:
        """What `folder` has of the same import; else this."""
        try:
            kept = ImportProgress(**json.loads((folder / _NAME).read_bytes()))
        except (OSError, ValueError, TypeError):
            return self
        return kept if (kept.source, kept.spec) == (self.source, self.spec) else self

    def write(self, folder: Path) -> None:
        """Replace what the folder says, after the runs it speaks of are on disk."""
        fresh = folder / (_NAME + ".new")
        with fresh.open("wb") as file:
            file.write(json.dumps(asdict(self)).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / _NAME)


def is_resumable(folder: Path) -> bool:
    """Whether an import that was cut off may go on from this folder."""
    return (folder / _NAME).exists()
