"""Online updates: how many, how soon others see them, what they cost look-ups; and a roll back.

Updates have 100 to 1,000 rows at random, each on disk when its receipt comes. What another process
sees is timed on the clock that all processes share, from before `update` is called, so the commit
is in it. Look-ups beside updates are timed in a process that follows, as daemons do, and in the one
that commits, the hardest place for them: there they share the interpreter with the commit.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.store_batches import BATCH_KEYS, SKEWS, Effort, at_least, draw_batches, tail_us
from bench.store_built import Built, Floats
from bench.store_reader import watching
from bench.store_threads import RESIDENT_BYTES
from bench.store_tiers import RAM_SHARE, ram_bytes_for
from bench.store_writer import writing
from sedp.storage.store import ParameterStore
from sedp.storage.tier import Keys

THREADS = 4
ROWS_MIN, ROWS_MAX = 100, 1000
PREPARED = 64  # updates that a thread goes round
RATE_GOAL = at_least(40_000)
VISIBLE_GOAL = Goal(100)
TAIL_GOAL = Goal(1.1)
ROLL_BACK_GOAL = Goal(1000)
STEADY_UPDATES_PER_S = 10  # of ROWS_MAX rows, beside the look-ups that are timed
VISIBLE_MIN = 30  # updates seen in another process, at least


@dataclass(frozen=True, slots=True)
class Change:
    """Rows to write."""

    keys: Keys
    rows: Floats


@dataclass(frozen=True, slots=True)
class Place:
    """A process in which look-ups are timed, and how there come to be updates meanwhile."""

    name: str
    updates: Callable[[], AbstractContextManager[None]]
    goal: Goal | None


def update_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Over one store, which has other rows afterwards."""
    ram_bytes = ram_bytes_for(int(len(built.keys) * RAM_SHARE), built.spec.row_bytes)
    pace = STEADY_UPDATES_PER_S, ROWS_MAX
    with (
        writing(built.path, built.spec.name, *pace) as writer,
        ParameterStore.open(built.path, ram_bytes=ram_bytes, read_only=True) as store,
    ):
        follower = Place("in a follower", writer.updates, TAIL_GOAL)
        figures = _tail_figures(follower, built, store, effort, dice)
    with ParameterStore.open(built.path, ram_bytes=ram_bytes) as store:

        def updates() -> AbstractContextManager[None]:
            return _steady_updates(built, store, _changes(built, ROWS_MAX, dice))

        return [
            *figures,
            *_tail_figures(Place("in the writer", updates, None), built, store, effort, dice),
            _rate_figure(built, store, effort, dice),
            _visible_figure(built, store, effort, dice),
        ]


def _changes(built: Built, rows_min: int, dice: np.random.Generator) -> Iterator[Change]:
    """Again and again the same few."""
    changes = list[Change]()
    for _ in range(PREPARED):
        count = int(dice.integers(rows_min, ROWS_MAX, endpoint=True))
        keys = dice.choice(built.keys, count, replace=False)
        changes.append(Change(keys, dice.random((count, built.spec.dim), dtype=np.float32)))
    return itertools.cycle(changes)


def _rate_figure(
    built: Built, store: ParameterStore, effort: Effort, dice: np.random.Generator
) -> Figure:
    sources = [_changes(built, ROWS_MIN, dice) for _ in range(THREADS)]

    def measured() -> float:
        written = [0] * THREADS
        started = time.perf_counter()
        stop = started + effort.seconds * 10

        def run(number: int) -> None:
            while time.perf_counter() < stop:
                change = next(sources[number])
                store.update(built.spec.name, change.keys, change.rows)
                written[number] += len(change.keys)

        _run_threads(run)
        return sum(written) / (time.perf_counter() - started)

    (rates,) = measure_in_turn(effort.rounds, measured)
    name = f"updates of {ROWS_MIN}–{ROWS_MAX:,} rows, synced, {THREADS} threads"
    return make_figure(name, "rows/s", rates, goal=RATE_GOAL)


def _run_threads(run: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _visible_figure(
    built: Built, store: ParameterStore, effort: Effort, dice: np.random.Generator
) -> Figure:
    """99th percentile, over updates whose row 0 counts up."""
    count = max(VISIBLE_MIN, int(effort.seconds * 1000))
    changes, sent_ns = _changes(built, ROWS_MIN, dice), list[int]()
    with watching(built.path, built.spec, int(built.keys[0])) as seen:
        for number in range(1, count + 1):
            change = next(changes)
            keys = np.concatenate([change.keys, built.keys[:1]])
            last = np.full((1, built.spec.dim), number, dtype=np.float32)
            sent_ns.append(time.monotonic_ns())
            store.update(built.spec.name, keys, np.concatenate([change.rows, last]))
            seen.wait_for(number)
    taken_ms = [(seen.at_ns[number] - sent) / 1e6 for number, sent in enumerate(sent_ns, 1)]
    return make_figure(
        f"an update seen in a second process, p99 of {count}",
        "ms",
        [float(np.percentile(taken_ms, 99))],
        goal=VISIBLE_GOAL,
    )


def _tail_figures(
    place: Place, built: Built, store: ParameterStore, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """Times, and how many times as long the slowest look-ups take beside updates."""
    ids = draw_batches(SKEWS[0], len(built.keys), BATCH_KEYS[-1], dice)
    look_up = built.look_up(store.table(built.spec.name), ids, is_as_built=False)
    for at in range(len(ids)):
        look_up(at)
    measured = tail_us(look_up, len(ids), effort.seconds * 10)

    def measured_beside() -> float:
        with place.updates():
            return measured()

    alone, beside = measure_in_turn(effort.rounds, measured, measured_beside)
    name = (
        f"look-up of {BATCH_KEYS[-1]:,} keys {place.name} beside {STEADY_UPDATES_PER_S} "
        f"updates/s of {ROWS_MAX:,} rows"
    )
    ratios = [b / a for a, b in zip(alone, beside, strict=True)]
    return [
        make_figure(f"{name}: p99", "µs/batch", beside, anchor="alone", anchor_rounds=alone),
        make_figure(f"{name}: p99 × alone", "×", ratios, goal=place.goal),
    ]


@contextmanager
def _steady_updates(
    built: Built, store: ParameterStore, changes: Iterator[Change]
) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        while not over.wait(1 / STEADY_UPDATES_PER_S):
            change = next(changes)
            store.update(built.spec.name, change.keys, change.rows)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def roll_back_figure(built: Built, effort: Effort) -> Figure:
    """From the call until a look-up gives a row of the version before; all rows are in RAM."""
    with ParameterStore.open(built.path, ram_bytes=RESIDENT_BYTES) as store:
        old = store.import_table(built.spec, built.chunks()).version
        chunks = ((keys, rows + np.float32(1)) for keys, rows in built.chunks())
        new = store.import_table(built.spec, chunks).version
        table, keys = store.table(built.spec.name), built.keys[:1]
        out = np.empty((1, built.spec.dim), dtype=np.float32)
        missing = np.empty(1, dtype=np.bool_)

        def measured() -> float:
            store.roll_back(built.spec.name, new)
            thread = threading.Thread(target=store.roll_back, args=(built.spec.name, old))
            started = time.perf_counter()
            thread.start()
            while not np.array_equal(out, built.rows[:1]):
                table.lookup(keys, out, missing)
            seconds = time.perf_counter() - started
            thread.join()
            out[:] = 0
            return seconds * 1e3

        (taken_ms,) = measure_in_turn(effort.rounds, measured)
    name = f"roll back of {len(built.keys):,} rows until the older version answers"
    return make_figure(name, "ms", taken_ms, goal=ROLL_BACK_GOAL)
