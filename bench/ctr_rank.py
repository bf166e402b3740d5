"""Bench `ctr_rank`: a ranker of the usual size beside mosec and beside bare arithmetic, in one run.

One client process loads all servers, on the same cores as they, in turn. The *bounds* are two
processes that parse, look up and run onnxruntime without any server: *plain* on whole rows, *split*
with the user's part of the first layer once a request, as our pipeline has it. Closed loops ask a
pipeline without a latency target, as they may ask for more than one could be kept with.

All servers, ours and others, stand still but while they are measured: their processes are stopped
(SIGSTOP), and go on (SIGCONT) for some answers before each measurement. Idle servers take some
hundredths of a core each, and there are many of them here.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import uvloop
from numpy.typing import NDArray

from bench.ctr_rank_systems import PROCESSES, System, Workplace
from bench.figure import Figure, Goal, make_figure
from bench.load_client import closed_loop, open_loop, poisson
from bench.machine import ROOT
from bench.progress import tell
from bench.served import prepared_ctr_rank
from bench.server_process import Server
from bench.slo import LIMIT_S, Offer, Search, find_goodputs
from sedp.demo.ctr_rank import BUCKETS, CANDIDATES
from sedp.demo.ctr_rank_model import DIM

MOSEC = System("mosec, raw", "raw")
MOSEC_JSON = System("mosec, OIP JSON", "json")
SEDP = System("OIP binary", "binary", "shipped")
SEDP_JSON = System("OIP JSON", "json", "shipped")
FREE = System("OIP binary", "binary", "free")
FREE_JSON = System("OIP JSON", "json", "free")
ONE_STAGE = System("one stage", "binary", "one")
THREE_STAGES = System("three stages", "binary", "three")
SYSTEMS = (MOSEC, MOSEC_JSON, FREE, FREE_JSON, ONE_STAGE, THREE_STAGES)  # in closed loops
SERVED = (*SYSTEMS, SEDP, SEDP_JSON)
JUDGED = (MOSEC, SEDP, MOSEC_JSON, SEDP_JSON)  # those whose goodput is searched for
BOUNDS = ("plain", "split")
CONNECTIONS, MORE_CONNECTIONS, OPEN_CONNECTIONS = 32, 64, 128
TABLE_MB = BUCKETS * DIM * 4 / 1e6
RATE, COST = "req/s", "CPU-ms/req"


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds, seconds of a closed loop, steps of the search for the goodput and their seconds."""

    rounds: int
    seconds: float
    steps: int
    step_seconds: float


QUICK, FULL = Effort(2, 1.0, 10, 1.0), Effort(7, 3.0, 14, 2.5)


def measure(quick: bool, seed: int, mosec_python: str = sys.executable) -> list[Figure]:
    """All figures of this bench.

    Args:
        mosec_python: interpreter of an environment with mosec, numpy, onnxruntime and msgspec.
    """
    if mosec_python == sys.executable and find_spec("mosec") is None:
        raise click.UsageError("mosec is not installed here; name its Python with --mosec-python")
    folder = prepared_ctr_rank()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as running:
        place = Workplace(folder, Path(scratch), mosec_python)
        servers = {}
        for one in SERVED:
            tell(f"starting {one.name} {one.form}")
            servers[one] = running.enter_context(place.serve(one))
            servers[one].pause()
        return _Bench(place, servers, FULL if not quick else QUICK, seed).figures()


class _Bench:
    """Servers that run, and what is measured of them."""

    def __init__(
        self, place: Workplace, servers: dict[System, Server], effort: Effort, seed: int
    ) -> None:
        self._place = place
        self._servers = servers
        self._effort = effort
        self._seed = seed
        self._rates: dict[tuple[object, int, int], list[float]] = {}
        self._costs: dict[object, list[float]] = {}

    def figures(self) -> list[Figure]:
        for number in range(self._effort.rounds):
            tell(f"closed loops, round {number + 1} of {self._effort.rounds}")
            self._take_round()
        return [
            *self._goodput(),
            *self._closed(),
            *self._stages(),
            *self._sizes(),
            *self._overload(),
            *self._processes(),
        ]

    def _take_round(self) -> None:
        """Closed loops of everything once, so that all see the machine as it is."""
        for bound in BOUNDS:
            rate, cost = run_bound(self._place.scratch, bound, self._effort.seconds)
            self._rates.setdefault((bound, CANDIDATES, 0), []).append(rate)
            self._costs.setdefault(bound, []).append(cost)
        for system in SYSTEMS:
            self._costs.setdefault(system, []).append(self._close(system, CANDIDATES, CONNECTIONS))
        for candidates in (1, 500):
            for system in (MOSEC, FREE):
                self._close(system, candidates, MORE_CONNECTIONS)
        for system in (MOSEC, FREE):
            self._close(system, CANDIDATES, MORE_CONNECTIONS)

    def _close(self, system: System, candidates: int, connections: int) -> float:
        """One closed loop; its rate is kept, its CPU milliseconds a request returned."""
        server, requests = self._servers[system], self._place.requests(system, candidates)
        with server.awake():
            before_s = server.cpu_s()
            loop = closed_loop(server.address, requests, connections, self._effort.seconds)
            run = uvloop.run(loop)
            used_s = server.cpu_s() - before_s
        self._rates.setdefault((system, candidates, connections), []).append(run.rate)
        return used_s * 1e3 / max(1, run.answers + run.refusals)

    def _offer(self, system: System) -> Offer:
        server, requests = self._servers[system], self._place.requests(system, CANDIDATES)

        def offer(rate: float, seconds: float) -> NDArray[np.float64]:
            schedule = poisson(rate, seconds, self._seed)
            with server.awake():
                return uvloop.run(open_loop(server.address, requests, OPEN_CONNECTIONS, schedule))

        return offer

    def _greatest(self, system: System) -> float:
        free = {SEDP: FREE, SEDP_JSON: FREE_JSON}.get(system, system)
        return max(self._rates[free, CANDIDATES, CONNECTIONS])

    def _goodput(self) -> list[Figure]:
        effort = self._effort
        searches = [Search.below(self._greatest(one), self._offer(one)) for one in JUDGED]
        found = find_goodputs(searches, effort.steps, effort.step_seconds)
        mosec, sedp, mosec_json, sedp_json = found
        name = f"SLO goodput, p99 <= {LIMIT_S * 1e3:g} ms"
        return [
            _beside(f"{name}, {SEDP.name}", RATE, [sedp], MOSEC.name, [mosec]),
            _ratio(f"{name}, {SEDP.name} / mosec", [sedp], [mosec], 1.9),
            _beside(f"{name}, {SEDP_JSON.name}", RATE, [sedp_json], MOSEC_JSON.name, [mosec_json]),
            _ratio(f"{name}, {SEDP_JSON.name} / mosec", [sedp_json], [mosec_json], 1.5),
        ]

    def _closed(self) -> list[Figure]:
        key = CANDIDATES, CONNECTIONS
        own, plain = self._rates[FREE, *key], self._rates["plain", CANDIDATES, 0]
        name = f"closed loop, {CONNECTIONS} connections"
        more = f"closed loop, {MORE_CONNECTIONS} connections, {FREE.name}"
        costs = self._costs
        return [
            _beside(f"{name}, {FREE.name}", RATE, own, MOSEC.name, self._rates[MOSEC, *key]),
            _beside(
                more,
                RATE,
                self._rates[FREE, CANDIDATES, MORE_CONNECTIONS],
                MOSEC.name,
                self._rates[MOSEC, CANDIDATES, MORE_CONNECTIONS],
            ),
            _ratio(f"{name}, {FREE.name} / plain bound", own, plain, 0.85),
            _beside(
                f"{name}, {FREE_JSON.name}",
                RATE,
                self._rates[FREE_JSON, *key],
                MOSEC_JSON.name,
                self._rates[MOSEC_JSON, *key],
            ),
            _beside("server CPU", COST, costs[FREE], MOSEC.name, costs[MOSEC]),
            _ratio("server CPU / plain bound", costs[FREE], costs["plain"], 1.25, at_most=True),
            _ratio("server CPU / split bound", costs[FREE], costs["split"], 1.25, at_most=True),
            _beside(
                "server CPU, OIP JSON", COST, costs[FREE_JSON], MOSEC_JSON.name, costs[MOSEC_JSON]
            ),
        ]

    def _stages(self) -> list[Figure]:
        key = CANDIDATES, CONNECTIONS
        one, three = self._costs[ONE_STAGE], self._costs[THREE_STAGES]
        rates = self._rates[THREE_STAGES, *key], self._rates[ONE_STAGE, *key]
        return [
            _ratio("server CPU, three stages / one", three, one, 1.05, at_most=True),
            _ratio("closed loop, three stages / one", *rates, 0.95),
        ]

    def _sizes(self) -> list[Figure]:
        figures = []
        for candidates, goal in ((1, 1.0), (500, None)):
            own, theirs = (self._rates[one, candidates, MORE_CONNECTIONS] for one in (FREE, MOSEC))
            name = f"closed loop, C = {candidates}"
            figures += [
                _beside(name, RATE, own, MOSEC.name, theirs),
                _ratio(f"{name}, / mosec", own, theirs, goal),
            ]
        return figures

    def _overload(self) -> list[Figure]:
        """Answers in time at twice a server's own greatest rate."""
        seconds = 2 * self._effort.step_seconds
        in_time: dict[System, list[float]] = {}
        for system in (MOSEC, SEDP):
            latencies = self._offer(system)(2 * self._greatest(system), seconds)
            in_time[system] = [float(np.count_nonzero(latencies <= LIMIT_S)) / seconds]
        name = f"twice the load: answers within {LIMIT_S * 1e3:g} ms"
        return [_beside(name, RATE, in_time[SEDP], MOSEC.name, in_time[MOSEC])]

    def _processes(self) -> list[Figure]:
        own, theirs = self._servers[SEDP], self._servers[MOSEC]
        memory = [
            make_figure(
                f"{kind.upper()}, {PROCESSES} workers",
                "MB",
                [own.memory_mb(kind)],
                goal=Goal(1.2 * TABLE_MB + 150) if kind == "Rss" else None,
                anchor=MOSEC.name,
                anchor_rounds=[theirs.memory_mb(kind)],
            )
            for kind in ("Rss", "Pss")
        ]
        ready = make_figure(
            "start until the first answer",
            "s",
            [own.ready_s],
            goal=Goal(2),
            anchor=MOSEC.name,
            anchor_rounds=[theirs.ready_s],
        )
        return [*memory, ready]


def run_bound(folder: Path, form: str, seconds: float) -> tuple[float, float]:
    """Requests a second of as many processes as servers have, and CPU milliseconds a request."""
    words = [sys.executable, "-m", "bench.ctr_rank_bound", str(folder), form, str(seconds)]
    with contextlib.ExitStack() as running:
        processes = [running.enter_context(_talking(words)) for _ in range(PROCESSES)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [process.communicate() for process in processes]
    counts, cpu_s = zip(*(map(float, out.split()) for out, _ in results), strict=True)
    return sum(counts) / seconds, sum(cpu_s) * 1e3 / sum(counts)


@contextlib.contextmanager
def _talking(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        yield process


def _beside(name: str, unit: str, own: list[float], anchor: str, theirs: list[float]) -> Figure:
    return make_figure(name, unit, own, anchor=anchor, anchor_rounds=theirs)


def _ratio(
    name: str,
    own: list[float],
    theirs: list[float],
    limit: float | None,
    *,
    at_most: bool = False,
) -> Figure:
    """Round by round, so that what slows the machine for a while falls out."""
    ratios = [a / b if b else float("nan") for a, b in zip(own, theirs, strict=True)]
    return make_figure(name, "×", ratios, goal=None if limit is None else Goal(limit, at_most))
