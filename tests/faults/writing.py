"""A process that updates a store until something ends it, and what must be there afterwards.

Every update writes one number into all rows of a small set of keys, so a row of two updates is torn
and a set of two updates is half applied. The number is told on standard output once the receipt is
there, so the test knows what was acknowledged, and in which order.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from sedp.storage.store import LMDB_BYTES_MAX, ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.processes import ROOT

SETS = 8  # of keys; update i goes to set i % SETS
SET_KEYS = 40
SPEC = TableSpec("user", 32, "int64")
OTHER = TableSpec("other", 4, "int32")
KEYS = np.arange(2000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
DELTA_KEYS, COMING_KEYS = KEYS[SETS * SET_KEYS : 1000], KEYS[1000:1100]
LINKS_MAX = 8  # deltas in a row

CHILD = """
import sys
from pathlib import Path
from tests.faults.writing import write_for_ever
write_for_ever(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
"""


def keys_of_set(number: int) -> Any:
    """The keys that update `number` writes: two in three of them were imported."""
    at = number % SETS * SET_KEYS
    fresh = np.uint64(1) + KEYS[at : at + SET_KEYS // 3]
    return np.concatenate([KEYS[at : at + SET_KEYS - len(fresh)], fresh])


def make_store(path: Path, lmdb_bytes: int = LMDB_BYTES_MAX) -> None:
    """A store with all keys, whose rows are 0."""
    with ParameterStore.open(path, create=True, lmdb_bytes=lmdb_bytes) as store:
        rows = np.zeros((len(KEYS), SPEC.dim), np.int64)
        store.import_table(SPEC, [(KEYS, rows)])


def write_for_ever(path: Path, durability: Any, first: int, lmdb_bytes: int, also: str) -> None:
    """Update from `first` on, eight at a time, telling what is acknowledged; import or promote too.

    Args:
        also: "nothing", "import" other tables beside, "delta" versions of the updated one,
            "promote" rows, or "rest" between updates, so that no log is written for being full.
    """
    store = ParameterStore.open(path, ram_bytes=0, lmdb_bytes=lmdb_bytes)
    beside = {
        "import": _import_for_ever,
        "delta": _chain_for_ever,
        "promote": _look_up_for_ever,
    }
    if also in beside:
        Thread(target=beside[also], args=(store,), daemon=True).start()
    number = first
    while True:
        waiting = []
        for _ in range(SETS):
            keys = keys_of_set(number)
            rows = np.full((len(keys), SPEC.dim), number, np.int64)
            future = store.submit_update("user", keys, rows, durability=durability, id=f"{number}")
            waiting.append((number, future))
            number += 1
        for done, future in waiting:
            future.result()
            sys.stdout.write(f"{done} {time.monotonic():.3f}\n")
        sys.stdout.flush()
        if also == "rest":
            time.sleep(0.02)


def _import_for_ever(store: ParameterStore) -> None:
    while True:
        rows = np.ones((len(KEYS), OTHER.dim), np.int32)
        store.import_table(OTHER, [(KEYS, rows)])


def _chain_for_ever(store: ParameterStore) -> None:
    """Deltas on the current version; a whole one first and between them, as a chain has an end.

    An odd delta removes some keys, an even one brings them back.
    """
    for number in count():
        is_odd = number % 2 == 1
        keys = DELTA_KEYS if is_odd else np.concatenate([DELTA_KEYS, COMING_KEYS])
        chunks = [(keys, np.full((len(keys), SPEC.dim), number, np.int64))]
        if number % LINKS_MAX:
            removed = COMING_KEYS if is_odd else None
            store.import_table(SPEC, chunks, base="current", removed=removed)
        else:
            store.import_table(SPEC, chunks, onto_current=True)


def _look_up_for_ever(store: ParameterStore) -> None:
    table, dice = store.table("user"), np.random.default_rng()
    while True:
        keys = dice.choice(KEYS, 200)
        table.lookup(keys, np.empty((200, SPEC.dim), np.int64), np.empty(200, np.bool_))


@dataclass
class Told:
    """What a process acknowledged, and when."""

    numbers: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The last number; 0 if there is none."""
        return self.numbers[-1] if self.numbers else 0


@contextmanager
def writing(
    path: Path,
    durability: str = "sync",
    first: int = 1,
    lmdb_bytes: int = LMDB_BYTES_MAX,
    also: str = "nothing",
    *,
    prelude: str = "",
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    errors: Path | None = None,
) -> Iterator[tuple[subprocess.Popen[str], Told]]:
    """A process under way, which has acknowledged something; it is killed at the end.

    Args:
        prelude: Python to run first.
        command: words to put before the interpreter's.
        errors: the file that takes its standard error.
    """
    arguments = [str(path), durability, str(first), str(lmdb_bytes), also]
    with errors.open("w") if errors else open(os.devnull, "w") as stderr:
        process = subprocess.Popen(
            [*command, sys.executable, "-c", prelude + CHILD, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    told = Told()
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            _take(told, lines.readline())
            yield process, told
        finally:
            process.kill()
            for line in lines:
                _take(told, line)
            process.wait()


def _take(told: Told, line: str) -> None:
    if line.endswith("\n"):
        number, at = line.split()
        told.numbers.append(int(number))
        told.times_s.append(float(at))


def check_store(path: Path, **options: Any) -> list[int]:
    """Open, and check that the store is whole; returns the newest number in each set of keys.

    Raises:
        AssertionError: a row or an update is torn, RAM, LMDB and RocksDB differ, or it is damaged.
    """
    seen = []
    for ram_bytes in (0, 4 << 20):
        with ParameterStore.open(path, ram_bytes=ram_bytes, **options) as store:
            seen.append(_look(store))
            store.settle()
            seen.append(_look(store))
            assert store.verify().is_sound
    assert all(numbers == seen[0] for numbers in seen), "the tiers differ"
    return seen[0]


def _look(store: ParameterStore) -> list[int]:
    newest = []
    for number in range(SETS):
        keys = keys_of_set(number)
        rows, missing = np.empty((len(keys), SPEC.dim), np.int64), np.empty(len(keys), np.bool_)
        store.table("user").lookup(keys, rows, missing)
        assert (rows == rows[:1, :1]).all(), f"torn: {np.unique(rows)}"
        assert (missing == ~np.isin(keys, KEYS)).all() if rows[0, 0] == 0 else not missing.any()
        newest.append(int(rows[0, 0]))
    _look_at_delta(store)
    for table in store.tables():
        if table.name == OTHER.name:
            rows = np.empty((len(KEYS), OTHER.dim), np.int32)
            store.table("other").lookup(KEYS, rows, np.empty(len(KEYS), np.bool_))
            assert (rows == 1).all(), "an import is half there"
    return newest


def _look_at_delta(store: ParameterStore) -> None:
    keys = np.concatenate([DELTA_KEYS, COMING_KEYS])
    rows, missing = np.empty((len(keys), SPEC.dim), np.int64), np.empty(len(keys), np.bool_)
    store.table("user").lookup(keys, rows, missing)
    held = rows[~missing]
    assert (held == held[:1, :1]).all(), f"a delta is half there: {np.unique(held)}"
    gone = np.isin(keys, COMING_KEYS) & (held[0, 0] % 2 == 1)
    assert np.array_equal(missing, gone), f"a delta's removals are half there: {missing.sum()}"


def lost(newest: list[int], told: Told) -> list[int]:
    """Numbers acknowledged of which neither they nor a later one of their set is there."""
    return [number for number in told.numbers if newest[number % SETS] < number]
