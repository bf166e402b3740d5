"""Bench `store`: how far the tiers are from what the machine and their libraries can do.

The limits are a dense gather (no table of keys can be faster), the static optimum (no cache can
keep more on a steady stream), the disk, and the libraries' own best calls. Goals are ratios to
them, judged round by round; times and rates show their size. Rows are 16 float32 unless said, keys
are 0..rows-1 in no order. File pages are kept in memory while they are measured, but for the cold
figure. The tables of `quick` lie in the processor's cache, where a bare gather and plain Python are
faster than they would be: whether goals hold is for the full run to say.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from bench.figure import Figure, Goal
from bench.store_batches import DIM, SKEWS, Effort
from bench.store_built import Built
from bench.store_cold import cold_figures
from bench.store_imports import import_figures
from bench.store_lmdb import lmdb_figures
from bench.store_memory import folder_resident
from bench.store_plain import PlainTiers
from bench.store_ram import gather_figures, hit_figures
from bench.store_rocksdb import rocksdb_figures
from bench.store_servers import server_figures
from bench.store_shared_ram import shared_ram_figures
from bench.store_threads import thread_figures
from bench.store_tiers import LMDB_SHARE, part_figures, whole_figures
from bench.store_updates import roll_back_figure, update_figures
from sedp.storage.rows.bucket import Layout

QUICK = Effort(rounds=3, seconds=0.04, rows=200_000, requests=1_000_000, streams=2)
FULL = Effort(rounds=5, seconds=0.1, rows=1_000_000, requests=10_000_000, streams=2)
WIDE_DIM = 64
MANY_PLACES = 10_000_000
MANY_PLACES_BYTES = 3 << 30  # that must be free for them: they take 1.7, the rest is to spare


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench; 10 M rows in RAM only in full, where memory is free for them."""
    effort = QUICK if quick else FULL
    dice = np.random.default_rng(seed)
    figures = gather_figures(1_000_000, SKEWS, Goal(0.6, at_most=False), effort, dice)
    if not quick:
        figures += _many_places(effort, dice)
    figures += hit_figures(effort, dice)
    with tempfile.TemporaryDirectory() as folder:
        figures += disk_figures(Path(folder), effort, dice)
    return figures


def disk_figures(folder: Path, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """All that needs a store on disk."""
    built = Built(folder / "hashed", effort.rows, DIM, "hashed", dice)
    imports = import_figures(built, effort)
    plain = PlainTiers(folder / "plain")
    try:
        plain.fill_lmdb(built.keys, built.rows)
        plain.fill_rocksdb(built.keys, built.rows)
        with folder_resident(folder / "plain"):
            figures = lmdb_figures(built, plain, effort, dice)
            figures += _other_lmdb_figures(folder, plain, effort, dice)
            figures += rocksdb_figures(built, plain, effort, dice)
            figures += whole_figures(built, plain, effort, dice)
        figures += cold_figures(built, effort, dice)
    finally:
        plain.close()
    figures += _part_figures(folder, effort, dice)
    figures += thread_figures(built, effort, dice)
    figures += shared_ram_figures(built, effort, dice)
    figures += server_figures(built, effort, dice)
    figures += imports
    figures += update_figures(built, effort, dice)
    return [*figures, roll_back_figure(built, effort)]


def _other_lmdb_figures(
    folder: Path, plain: PlainTiers, effort: Effort, dice: np.random.Generator
) -> list[Figure]:
    """The dense layout, and rows four times as wide in a table of as many bytes."""
    shapes: tuple[tuple[int, Layout], ...] = (
        (DIM, "dense"),
        (WIDE_DIM, "hashed"),
        (WIDE_DIM, "dense"),
    )
    figures = list[Figure]()
    for dim, layout in shapes:
        built = Built(folder / f"{layout}{dim}", effort.rows * DIM // dim, dim, layout, dice)
        built.import_store()
        figures += lmdb_figures(built, plain if dim == DIM else None, effort, dice)
    return figures


def _part_figures(folder: Path, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    built = Built(folder / "part", effort.rows, DIM, "hashed", dice)
    built.import_store(built.lmdb_bytes(LMDB_SHARE))
    plain = PlainTiers(folder / "plain-part")
    try:
        plain.fill_rocksdb(built.keys, built.rows)
        return part_figures(built, plain, effort, dice)
    finally:
        plain.close()


def _many_places(effort: Effort, dice: np.random.Generator) -> list[Figure]:
    if _free_bytes() < MANY_PLACES_BYTES:
        click.echo("too little memory is free for 10 M rows in RAM: left out", err=True)
        return []
    return gather_figures(MANY_PLACES, SKEWS[1:], Goal(0.35, at_most=False), effort, dice)


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
