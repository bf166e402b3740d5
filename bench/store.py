"""Bench `store`: how far the tiers are from what the machine and their libraries can do.

The limits are a dense gather (no table of keys can be faster), the static optimum (no cache can
keep more on a steady stream), and the libraries' own best calls. Goals are ratios to them, judged
round by round; times and rates show their size. Rows are 16 float32, keys are 0..rows-1 in no
order. LMDB is read from the page cache, never from the disk.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from bench.figure import Figure, Goal
from bench.store_batches import SKEWS, Effort
from bench.store_ram import gather_figures, hit_figures
from bench.store_tiers import Built, end_to_end_figures, import_figures, tier_figures

QUICK = Effort(rounds=3, seconds=0.04, rows=200_000, requests=1_000_000, streams=2)
FULL = Effort(rounds=5, seconds=0.1, rows=1_000_000, requests=10_000_000, streams=2)
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
        built = Built(Path(folder), effort.rows, dice)
        try:
            imports = import_figures(built, effort)
            figures += tier_figures(built, effort, dice)
            figures += end_to_end_figures(built, effort, dice)
        finally:
            built.close()
    return figures + imports


def _many_places(effort: Effort, dice: np.random.Generator) -> list[Figure]:
    if _free_bytes() < MANY_PLACES_BYTES:
        click.echo("too little memory is free for 10 M rows in RAM: left out", err=True)
        return []
    return gather_figures(MANY_PLACES, SKEWS[1:], Goal(0.35, at_most=False), effort, dice)


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
