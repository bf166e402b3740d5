"""Bench `store_large`: a table of four times the memory that its readers may use.

The reader runs in a group of processes with a limit of memory, which counts file pages too, so what
is not hot comes from the disk. Made chunk by chunk: the rows are never in memory at once. Takes
about 250 bytes of disk a row while it runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import msgspec
import numpy as np

from bench.figure import Figure, make_figure
from bench.machine import ROOT
from bench.store_batches import BATCH_KEYS, DIM, ROW_BYTES, SKEWS
from bench.store_cgroup import confined
from bench.store_confined import Outcome, Task
from bench.store_memory import evict_folder
from bench.store_rows import make_chunks
from bench.store_skew import skew_figures
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

ROWS, QUICK_ROWS = 50_000_000, 2_000_000
DISK_BYTES_A_ROW = 300
MEMORY_SHARE = 4  # the rows take so many times the limit
LIMIT_BYTES_MIN = 256 << 20  # Python, its libraries and RocksDB's cache need so much
RAM_SHARE = 4  # the RAM tier has one part in so many of the limit
SKEW_SHARE = 25  # the table for placement has one row in so many
SKEW_ROWS_MIN = 200_000  # fewer look-ups tell nothing of how soon it settles

_NAME = "large"


def measure(quick: bool, seed: int, rows: int | None = None) -> list[Figure]:
    """Look-ups of Zipf 1.05 in little memory, and placement under a skew of 80 to 1.

    Args:
        rows: of the table; by default 50 million, or 2 million if `quick`.
    """
    rows = rows or (QUICK_ROWS if quick else ROWS)
    warm_s, measure_s = (2, 4) if quick else (60, 60)
    dice = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < rows * DISK_BYTES_A_ROW:
            gib = rows * DISK_BYTES_A_ROW / (1 << 30)
            click.echo(f"{rows:,} rows need {gib:.0f} GiB of disk: left out", err=True)
            return []
        figures = _small_memory_figures(folder, rows, warm_s, measure_s, seed)
        shutil.rmtree(folder / "store", ignore_errors=True)
        skew_rows = max(rows // SKEW_SHARE, SKEW_ROWS_MIN)
        return figures + skew_figures(folder / "skew", skew_rows, dice)


def _small_memory_figures(
    folder: Path, rows: int, warm_s: float, measure_s: float, seed: int
) -> list[Figure]:
    seconds = _build(folder / "store", rows)
    limit = max(rows * ROW_BYTES // MEMORY_SHARE, LIMIT_BYTES_MIN)
    task = Task(str(folder / "store"), rows, limit // RAM_SHARE, seed, warm_s, measure_s)
    figures = [make_figure(f"import of {rows:,} rows", "rows/s", [rows / seconds])]
    outcome = _run_confined(task, limit)
    if outcome is None:
        click.echo("no limit of memory can be set here: left out", err=True)
        return figures
    share = rows * ROW_BYTES / limit
    name = f"{rows:,} rows ({share:.1f} × memory), {SKEWS[0]}, {BATCH_KEYS[-1]:,} keys"
    ram, lmdb = outcome.served
    return [
        *figures,
        make_figure(f"{name}: p50", "µs/batch", [outcome.p50_us]),
        make_figure(f"{name}: p99", "µs/batch", [outcome.p99_us]),
        make_figure(f"{name}: answered by RAM", "of keys", [ram]),
        make_figure(f"{name}: answered by LMDB", "of keys", [lmdb]),
        make_figure(f"{name}: resident", "MiB", [outcome.rss_bytes / (1 << 20)]),
        make_figure(f"{name}: of it no file", "MiB", [outcome.anonymous_bytes / (1 << 20)]),
    ]


def _build(path: Path, rows: int) -> float:
    """Make the store, let none of its pages be in memory; seconds that the import took."""
    with ParameterStore.open(path, ram_bytes=0, create=True) as store:
        started = time.perf_counter()
        store.import_table(TableSpec(_NAME, DIM, "float32"), make_chunks(rows, DIM))
        seconds = time.perf_counter() - started
    evict_folder(path)
    return seconds


def _run_confined(task: Task, limit_bytes: int) -> Outcome | None:
    """Do the task in a process that may take so much memory; None where that cannot be had."""
    with confined(limit_bytes) as processes:
        if processes is None:
            return None
        program = [sys.executable, "-m", "bench.store_confined", msgspec.json.encode(task).decode()]
        join = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(processes)]
        answer = subprocess.run([*join, *program], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(answer.stdout, type=Outcome)
