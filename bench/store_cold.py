"""LMDB with none of its pages in memory, against what the disk can do: fio, 4 KiB, 32 at once.

Before every batch the file's pages are unmapped and dropped. The figure is left out where fio is
not installed, or where the kernel keeps the pages.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import BATCH_KEYS, SKEWS, Effort, Ints, at_least, draw_batches
from bench.store_built import Built, Opened, unlocked
from bench.store_memory import evict
from sedp.storage.rows.bucket import PAGE_BYTES, BucketShape, places_of

GOAL = at_least(0.8, 1)
QUEUE_DEPTH = 32
BATCHES = 8  # of one round
RESIDENT_SHARE_MAX = 0.1  # of the pages, after they were dropped

_libc = ctypes.CDLL(None)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


class ColdFile:
    """LMDB's file and where it is mapped."""

    def __init__(self, path: Path, address: int, size: int) -> None:
        self.path, self._address, self._size = path, address, size
        self._flags = np.empty(size // PAGE_BYTES, dtype=np.uint8)

    def drop(self) -> None:
        """Let no page be in memory."""
        evict(self.path, self._address, self._size)

    def resident_share(self) -> float:
        """Of the pages in memory; 0..1."""
        _libc.mincore(self._address, self._size, self._flags.ctypes.data)
        return float(np.mean(self._flags & 1))


def cold_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Pages a second of the tier, in batches of 2,600 uniform keys."""
    if shutil.which("fio") is None:
        click.echo("fio is not installed: LMDB from the disk is left out", err=True)
        return []
    ids = draw_batches(SKEWS[1], len(built.keys), BATCH_KEYS[-1], dice)
    with unlocked(built.path, 0) as held:
        file = ColdFile(held.lmdb_path, *held.lmdb_map)
        file.drop()
        if file.resident_share() > RESIDENT_SHARE_MAX:
            click.echo("the kernel keeps file pages: LMDB from the disk is left out", err=True)
            return []
        ours, disk = measure_in_turn(
            effort.rounds,
            _pages_per_s(built, held, file, ids),
            lambda: _disk_reads_per_s(file.path, effort.seconds * 10),
        )
    name = f"LMDB {built.spec.layout}, no page in memory, {SKEWS[1]}, {BATCH_KEYS[-1]:,} keys"
    anchor = f"fio randread 4k QD{QUEUE_DEPTH}"
    ratios = [a / b for a, b in zip(ours, disk, strict=True)]
    return [
        make_figure(name, "pages/s", ours, anchor=anchor, anchor_rounds=disk),
        make_figure(f"{name}: × {anchor}", "×", ratios, goal=GOAL),
    ]


def _pages_per_s(built: Built, held: Opened, file: ColdFile, ids: Ints) -> Callable[[], float]:
    """A measurement: pages of distinct buckets a second, over some batches that nobody has read."""
    tier, keys, spec = held.warm, ids.astype(np.uint64), built.spec
    shape = BucketShape.for_rows(spec.row_bytes, spec.layout, len(built.keys))
    wanted = np.arange(ids.shape[1])
    out = np.empty((ids.shape[1], spec.row_bytes), dtype=np.uint8)
    numbers = itertools.cycle(range(len(ids)))

    def measured() -> float:
        pages, seconds = 0, 0.0
        for _ in range(BATCHES):
            batch = keys[next(numbers)]
            missing = np.ones(len(batch), dtype=np.bool_)
            pages += len(np.unique(shape.buckets_of(places_of(batch, spec.layout)))) * shape.pages
            file.drop()
            started = time.perf_counter()
            tier.answer(batch, wanted, out, missing)
            seconds += time.perf_counter() - started
        return pages / seconds

    return measured


def _disk_reads_per_s(path: Path, seconds: float) -> float:
    command = [
        *("fio", "--name=reads", f"--filename={path}", "--readonly", "--rw=randread", "--bs=4k"),
        *("--direct=1", "--ioengine=libaio", f"--iodepth={QUEUE_DEPTH}", "--time_based"),
        *(f"--runtime={max(1, round(seconds))}", "--output-format=json"),
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    reads_per_s: float = json.loads(answer.stdout)["jobs"][0]["read"]["iops"]
    return reads_per_s
