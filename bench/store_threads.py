"""Two threads that look up in one table, against one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import (
    BATCH_KEYS,
    BATCH_KEYS_MAX,
    SKEWS,
    Effort,
    Ints,
    at_least,
    draw_batches,
)
from bench.store_built import Built, opened
from bench.store_tiers import RAM_SHARE, ram_bytes_for, settled
from sedp.storage.tables.table import Table

GOAL = at_least(1.7)
RESIDENT_BYTES = 1 << 30

Work = Callable[[int], object]


def thread_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Batches of Zipf 1.05, all in RAM, then in RAM and LMDB."""
    rows = len(built.keys)
    cached_bytes = ram_bytes_for(int(rows * RAM_SHARE), built.spec.row_bytes)
    figures = list[Figure]()
    for name, ram_bytes in (
        ("RAM, resident", RESIDENT_BYTES),
        (f"RAM {RAM_SHARE:.0%} + LMDB", cached_bytes),
    ):
        with opened(built.path, ram_bytes) as held:
            for size in (BATCH_KEYS[-1], BATCH_KEYS_MAX):
                ids = draw_batches(SKEWS[0], rows, size, dice)
                settled(built, held, ids)
                one, two, take_one, take_two = measure_in_turn(
                    effort.rounds,
                    *(
                        _rate(work, len(ids), threads, effort.seconds * 2)
                        for work in (_lookers(built, held.table, ids), _takers(built, ids))
                        for threads in (1, 2)
                    ),
                )
                figures.append(
                    make_figure(
                        f"{name}, {SKEWS[0]}, {size:,} keys: two threads × one",
                        "×",
                        [b / a for a, b in zip(one, two, strict=True)],
                        goal=GOAL,
                        anchor="np.take of a dense table",
                        anchor_rounds=[b / a for a, b in zip(take_one, take_two, strict=True)],
                    )
                )
    return figures


def _lookers(built: Built, table: Table, ids: Ints) -> list[Work]:
    return [built.look_up(table, ids) for _ in range(2)]


def _takers(built: Built, ids: Ints) -> list[Work]:
    return [built.take_from(built.dense, ids) for _ in range(2)]


def _rate(works: list[Work], batches: int, threads: int, seconds: float) -> Callable[[], float]:
    """A measurement: batches a second of so many threads together, each with arrays of its own."""

    def measured() -> float:
        stop_ns = time.perf_counter_ns() + int(seconds * 1e9)
        done = [0] * threads

        def run(number: int) -> None:
            at = number * batches // 2
            while time.perf_counter_ns() < stop_ns:
                works[number](at % batches)
                at += 1
            done[number] = at - number * batches // 2

        runs = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
        for thread in runs:
            thread.start()
        for thread in runs:
            thread.join()
        return sum(done) / seconds

    return measured
