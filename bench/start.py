"""Bench `start`: how long a person waits, for help, for a restart, and for everything from nothing.

The anchor of a start is what no Python server can avoid: starting the interpreter, and for the
daemon importing the libraries it stands on. Preparing from nothing starts from the downloaded
data, since a download measures the network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.served import prepared_data, promo_rank, run_sedp

IMPORTS = "import aiohttp, lmdb, numba, numpy, onnxruntime, rocksdict, uvloop"


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench; `seed` is not used, nothing is drawn."""
    rounds = 3 if quick else 7
    folder = prepared_data()
    figures = [*_help(rounds), *_restart(rounds, folder)]
    return figures if quick else [*figures, _from_nothing(folder)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _python(code: str) -> float:
    return _seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def _help(rounds: int) -> list[Figure]:
    helped, bare = measure_in_turn(
        rounds,
        lambda: _seconds(lambda: run_sedp("--help")),
        lambda: _python("pass"),
    )
    return [
        make_figure(
            "sedp --help", "s", helped, goal=Goal(0.5), anchor="python -c pass", anchor_rounds=bare
        )
    ]


def _restart(rounds: int, folder: Path) -> list[Figure]:
    def restart() -> float:
        started = time.perf_counter()
        run_sedp("demo", "prepare", "--data-dir", str(folder), quiet=True)
        with promo_rank(folder):
            return time.perf_counter() - started

    restarts, imports = measure_in_turn(rounds, restart, lambda: _python(IMPORTS))
    return [
        make_figure(
            "make run, second time: until ready",
            "s",
            restarts,
            goal=Goal(5),
            anchor="import of its libraries",
            anchor_rounds=imports,
        )
    ]


def _from_nothing(folder: Path) -> Figure:
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "data"
        shutil.copytree(folder / "download", fresh / "download")
        started = time.perf_counter()
        run_sedp("demo", "prepare", "--data-dir", str(fresh))
        with promo_rank(fresh):
            seconds = time.perf_counter() - started
    return make_figure(
        "make run, from the downloaded data: until ready", "s", [seconds], goal=Goal(180)
    )
