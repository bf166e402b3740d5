"""Bench `overload`: the daemon under more load than it can carry, beside its own best.

ctr-rank is served by two workers with a latency target and nothing set by hand. First what it can
do: the closed loop's greatest rate and the SLO goodput. Then open loops above that, from a client
on the same two cores: steps up and back, three priorities together, and callers that ask again at
once whenever they are refused. An answer counts when it comes within the target of its due time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop
import yaml
from numpy.typing import NDArray

from bench.ctr_rank_systems import CONFIG, PROCESSES
from bench.ctr_rank_wire import Requests
from bench.figure import Figure, Goal, make_figure
from bench.load_client import Schedule, closed_loop, open_loop, poisson
from bench.machine import ROOT
from bench.served import run_sedp
from bench.server_process import Server, free_port, started
from bench.slo import LIMIT_S, Search, find_goodputs
from sedp.demo import ctr_rank

CANDIDATES = 100
CLOSED_CONNECTIONS, OPEN_CONNECTIONS = 32, 256
QUIET = 0.5  # of the goodput, before and after a step
SETTLED_S = 2.0  # into a step, from which the target is to be kept
WINDOW_S = 0.02
WELL = 0.95  # of a window's requests in time: recovered
TOP_SHARE = 0.05  # of requests that are of the highest level
LEVELS = 3
RETRIES = 5
RATE = "req/s"


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds of each step, its seconds, and those of the search for the goodput."""

    rounds: int
    step_s: float
    quiet_s: float
    halvings: int
    search_s: float
    factors: tuple[float, ...]
    storm_s: float


QUICK = Effort(1, 3.0, 1.0, 4, 1.0, (1.4, 2.0, 3.0), 4.0)
FULL = Effort(3, 8.0, 2.0, 7, 3.0, (1.4, 2.0, 3.0, 5.0), 30.0)


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = Path(os.environ.get("DATA_DIR", ROOT / ".sedp" / "ctr-rank")).absolute()
    run_sedp("demo", "ctr-rank", "--data-dir", str(folder))
    with tempfile.TemporaryDirectory() as scratch, _served(folder, Path(scratch)) as server:
        return _Bench(server, QUICK if quick else FULL, seed).figures()


@contextlib.contextmanager
def _served(folder: Path, scratch: Path) -> Iterator[Server]:
    """The shipped pipeline with a target and levels, and room for whatever admission lets in."""
    document = yaml.safe_load(CONFIG.read_text())
    pipeline = document["pipelines"]["ctr-rank"]
    pipeline |= {
        "slo": {"p99": f"{LIMIT_S * 1e3:g}ms"},
        "priorities": {"levels": LEVELS, "default": 2},
        "in_flight_max": 1024,
    }
    path = scratch / "overload.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    port = free_port()
    words = [sys.executable, "-m", "sedp", "serve", str(path), "--workers", str(PROCESSES)]
    extra = {"DATA_DIR": str(folder), "PORT": str(port), "ADMIN_PORT": "0"}
    with started(words, extra, port, _requests(1)[0]) as server:
        yield server


def _requests(level: int) -> list[bytes]:
    return Requests(ctr_rank.make_requests(), CANDIDATES).oip_binary(priority=level)


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one step.

    Args:
        in_time: answers within the target, a second, while it lasted.
        p99: seconds of those answered, of the whole step and once it had settled.
        recovery_s: from relief until nearly all are in time.
        top: share of the highest level that was in time while it lasted.
    """

    in_time: float
    p99: float
    p99_settled: float
    recovery_s: float
    top: float


class _Bench:
    def __init__(self, server: Server, effort: Effort, seed: int) -> None:
        self._server = server
        self._effort = effort
        self._seed = seed
        self._bodies = [body for level in range(1, LEVELS + 1) for body in _requests(level)]
        self._distinct = len(self._bodies) // LEVELS
        self._dice = np.random.default_rng(seed)

    def figures(self) -> list[Figure]:
        effort = self._effort
        closed = [self._close() for _ in range(max(2, effort.rounds))]
        search = Search.below(max(closed), self._offer)
        (goodput,) = find_goodputs([search], effort.halvings, effort.search_s)
        figures = [
            make_figure("closed loop", RATE, closed),
            make_figure(f"goodput, p99 <= {LIMIT_S * 1e3:g} ms", RATE, [goodput]),
            *self._beyond(max(closed), goodput),
        ]
        for factor in effort.factors:
            steps = [self._step(factor * goodput, goodput) for _ in range(effort.rounds)]
            figures += _step_figures(factor, goodput, steps)
        return [*figures, *self._storm(goodput), self._memory()]

    def _close(self) -> float:
        run = closed_loop(
            self._server.address, self._bodies, CLOSED_CONNECTIONS, self._effort.search_s
        )
        return uvloop.run(run).rate

    def _offer(self, rate: float, seconds: float) -> NDArray[np.float64]:
        return self._send(poisson(rate, seconds, self._seed).after_ns)

    def _send(self, after_ns: NDArray[np.int64], retries: int = 0) -> NDArray[np.float64]:
        self._levels = self._dice.choice(LEVELS, len(after_ns), p=(TOP_SHARE, 0.5 - TOP_SHARE, 0.5))
        picks = self._levels * self._distinct + np.arange(len(after_ns)) % self._distinct
        schedule = Schedule(after_ns, picks, retries)
        return uvloop.run(open_loop(self._server.address, self._bodies, OPEN_CONNECTIONS, schedule))

    def _beyond(self, closed: float, goodput: float) -> list[Figure]:
        """Twice the closed loop's greatest rate: where servers without admission answer nobody."""
        seconds = self._effort.step_s
        rounds = []
        for _ in range(self._effort.rounds):
            latencies = self._offer(2 * closed, seconds)
            rounds.append(float(np.count_nonzero(latencies <= LIMIT_S)) / seconds / goodput)
        return [
            make_figure(
                "twice the closed loop's rate: in time / goodput",
                "×",
                rounds,
                goal=Goal(0.9, False),
            )
        ]

    def _step(self, high: float, goodput: float) -> Step:
        effort, quiet_s = self._effort, self._effort.quiet_s
        step_s = effort.step_s
        parts = [(QUIET * goodput, quiet_s), (high, step_s), (QUIET * goodput, quiet_s)]
        after_ns, start_s = [], 0.0
        for number, (rate, seconds) in enumerate(parts):
            times = poisson(rate, seconds, self._seed + number).after_ns + int(start_s * 1e9)
            after_ns.append(times[times < (start_s + seconds) * 1e9])
            start_s += seconds
        due_s = np.concatenate(after_ns) / 1e9
        latencies = self._send(np.concatenate(after_ns))
        during = (due_s >= quiet_s) & (due_s < quiet_s + step_s)
        settled = during & (due_s >= quiet_s + min(SETTLED_S, step_s / 2))
        relieved = due_s >= quiet_s + step_s
        top = during & (self._levels == 0)
        return Step(
            float(np.count_nonzero(latencies[during] <= LIMIT_S)) / step_s,
            _p99(latencies[during]),
            _p99(latencies[settled]),
            _recovery_s(due_s[relieved] - quiet_s - step_s, latencies[relieved]),
            float(np.mean(latencies[top] <= LIMIT_S)),
        )

    def _storm(self, goodput: float) -> list[Figure]:
        """Twice the goodput from callers who ask again at once, then a load that can be carried."""
        self._send(poisson(2 * goodput, self._effort.storm_s, self._seed).after_ns, RETRIES)
        latencies = self._offer(0.9 * goodput, self._effort.step_s)
        share = float(np.mean(latencies <= LIMIT_S))
        name = f"0.9 of the goodput, right after a storm of {self._effort.storm_s:g} s: in time"
        return [make_figure(name, "share", [share], goal=Goal(0.95, False))]

    def _memory(self) -> Figure:
        return make_figure("RSS in the end", "MB", [self._server.memory_mb("Rss")])


def _p99(latencies: NDArray[np.float64]) -> float:
    answered = latencies[np.isfinite(latencies)]
    return float(np.percentile(answered, 99)) if len(answered) else float("nan")


def _recovery_s(after_s: NDArray[np.float64], latencies: NDArray[np.float64]) -> float:
    """When the last window began to be well in which too few were in time."""
    windows = (after_s / WINDOW_S).astype(np.int64)
    recovered = 0
    for window in np.unique(windows):
        if np.mean(latencies[windows == window] <= LIMIT_S) < WELL:
            recovered = int(window) + 1
    return recovered * WINDOW_S


def _step_figures(factor: float, goodput: float, steps: list[Step]) -> list[Figure]:
    share = {2.0: 0.95, 3.0: 0.9}.get(factor)
    told: list[tuple[str, str, list[float], Goal | None]] = [
        (
            "in time / goodput",
            "×",
            [step.in_time / goodput for step in steps],
            Goal(share, at_most=False) if share else None,
        ),
        ("p99 / target", "×", [step.p99 / LIMIT_S for step in steps], Goal(1.5)),
        ("p99 / target, settled", "×", [step.p99_settled / LIMIT_S for step in steps], Goal(1.0)),
        ("recovery", "ms", [1e3 * step.recovery_s for step in steps], Goal(200)),
        ("highest level in time", "share", [step.top for step in steps], Goal(0.99, False)),
    ]
    return [
        make_figure(f"step to {factor:g} × the goodput: {name}", unit, rounds, goal=goal)
        for name, unit, rounds, goal in told
    ]
