"""A second process that looks one row up again and again, and says when it saw it change."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.machine import ROOT
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

PAUSE_S = 0.0005  # between two looks, so that the reader leaves the core to others


class Seen:
    """What the reader has said so far.

    Args:
        reader: writes a line for every number it sees: the number, and the time in ns.
    """

    def __init__(self, reader: subprocess.Popen[str]) -> None:
        self._reader = reader
        self.at_ns: dict[int, int] = {}

    def wait_for(self, number: int) -> None:
        """Until the row was seen to hold this number."""
        while number not in self.at_ns:
            self.read()

    def read(self) -> None:
        """Take one line."""
        assert self._reader.stdout is not None
        line = self._reader.stdout.readline()
        if not line:
            raise RuntimeError("the reader ended; its error is above")
        seen, at_ns = line.split()
        self.at_ns[int(seen)] = int(at_ns)


@contextmanager
def watching(path: Path, spec: TableSpec, key: int) -> Iterator[Seen]:
    """A process that looks up `key` in the store under `path`; it has begun to look on entry."""
    command = [sys.executable, "-m", "bench.store_reader", str(path), spec.name, str(key)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as reader:
        try:
            seen = Seen(reader)
            seen.read()
            yield seen
        finally:
            reader.kill()


def main(path: str, name: str, key: str) -> None:
    """Look the row up until killed."""
    last = None
    with ParameterStore.open(Path(path), ram_bytes=1 << 20, read_only=True) as store:
        table = store.table(name)
        keys = np.array([int(key)], dtype=np.uint64)
        out = np.empty((1, table.spec.dim), dtype=np.float32)
        missing = np.empty(1, dtype=np.bool_)
        while True:
            table.lookup(keys, out, missing)
            if (number := int(out[0, 0])) != last:
                sys.stdout.write(f"{number} {time.monotonic_ns()}\n")
                sys.stdout.flush()
                last = number
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
