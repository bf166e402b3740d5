"""A second process that updates a store at a steady pace, while told to."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.machine import ROOT
from sedp.storage.store import ParameterStore

PREPARED = 64  # updates that it goes round


class Writing:
    """The process, told by lines when to update and when to rest.

    Args:
        writer: answers each line with one.
    """

    def __init__(self, writer: subprocess.Popen[str]) -> None:
        self._writer = writer

    def _tell(self, what: str) -> None:
        assert self._writer.stdin is not None
        assert self._writer.stdout is not None
        self._writer.stdin.write(f"{what}\n")
        self._writer.stdin.flush()
        if not self._writer.stdout.readline():
            raise RuntimeError("the writer ended; its error is above")

    @contextmanager
    def updates(self) -> Iterator[None]:
        """It updates meanwhile."""
        self._tell("update")
        try:
            yield
        finally:
            self._tell("rest")


@contextmanager
def writing(path: Path, name: str, updates_per_s: float, rows: int) -> Iterator[Writing]:
    """A process that has the store under `path` open for writing; it rests on entry."""
    words = [sys.executable, "-m", "bench.store_writer", str(path), name]
    words += [str(updates_per_s), str(rows)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as writer:
        try:
            held = Writing(writer)
            held._tell("rest")
            yield held
        finally:
            writer.kill()


def main(path: str, name: str, updates_per_s: str, rows: str) -> None:
    """Follow the lines of the standard input until killed."""
    with ParameterStore.open(Path(path), ram_bytes=0) as store:
        is_busy = threading.Event()
        pace = float(updates_per_s), int(rows)
        threading.Thread(target=_update, args=(store, name, *pace, is_busy), daemon=True).start()
        for line in sys.stdin:
            if line == "update\n":
                is_busy.set()
            else:
                is_busy.clear()
            sys.stdout.write(line)
            sys.stdout.flush()


def _update(
    store: ParameterStore, name: str, updates_per_s: float, count: int, is_busy: threading.Event
) -> None:
    """Rows of the keys 0..rows-1 that the bench's tables have."""
    dice, pause = np.random.default_rng(), threading.Event()
    spec, total = store.table(name).spec, store.statistics().tables[0].rows
    sets = [dice.choice(total, count, replace=False).astype(np.uint64) for _ in range(PREPARED)]
    rows = dice.random((count, spec.dim), dtype=np.float32)
    while True:
        for keys in sets:
            is_busy.wait()
            store.update(name, keys, rows)
            pause.wait(1 / updates_per_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
