"""Bench `tuning_live`: the daemon's tuner from wrong plans, beside the best static plan.

promo-rank is served by one process with a latency target and its admission. The best static plan is
found on the simulator by trying all, at the costs that the stages have here, and checked in a
daemon beside the shipped one. Then a daemon is started with each wrong plan and tuning, and loaded,
open loop, with more than the closed loop's greatest rate, until it answers nine tenths of what the
best static plan answers in time, or for a minute. The static daemon is asked anew before each, and
is stopped otherwise.
"""

from __future__ import annotations

import contextlib
import time
import urllib.request
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
import yaml

from bench.candidate_cut_quality import WEEKS
from bench.figure import Figure, Goal, make_figure
from bench.load_client import closed_loop, open_loop, poisson
from bench.oip_wire import encode
from bench.overload_steps import p99_s
from bench.progress import tell
from bench.served import CONFIG, prepared_data, serving, without_target
from bench.server_process import Server, free_port
from bench.tuning_plans import ROWS_MAX, WRONG, Plans, SimulatedServer, Spent, set_plans
from sedp.demo.files import RECORDING_FILE
from sedp.simulator.recording import load_recording

PIPELINE = "promo-rank"
TARGET_S = 0.03
DEMAND = 1.3  # times the closed loop's greatest rate
CLOSED_CONNECTIONS, OPEN_CONNECTIONS = 64, 256
REACHED = 0.9  # of the best static plan, in two windows one after the other
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds of a window and until a start is given up, starts, and batch sizes searched."""

    window_s: float
    limit_s: float
    starts: tuple[str, ...]
    rows: tuple[int, ...]


QUICK = Effort(2.0, 12.0, tuple(WRONG)[:2], (64, 2048))
FULL = Effort(3.0, LIMIT_S, tuple(WRONG), (32, 256, 2048))


@dataclass(frozen=True, slots=True)
class Window:
    """Answers in time a second, and seconds of p99 of all answers."""

    in_time: float
    p99: float


@dataclass(frozen=True, slots=True)
class Start:
    """What came of a wrong plan.

    Args:
        first: answers in time a second, in the first window.
        last: the same, mean of the last two windows.
        p99: seconds, worse of these two.
        reached_s: until the end of the two windows that were good enough; infinite if none were.
        moves: of knobs.
    """

    first: float
    last: float
    p99: float
    reached_s: float
    moves: int


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = prepared_data()
    return _Bench(folder, QUICK if quick else FULL, seed).figures()


class _Bench:
    def __init__(self, folder: Path, effort: Effort, seed: int) -> None:
        self._folder = folder
        self._effort = effort
        self._seed = seed
        self._recording = load_recording(folder / RECORDING_FILE).in_weeks(*WEEKS)
        self._requests = encode(self._recording, PIPELINE)
        self._rate = 0.0
        tell("measuring what stages cost")
        self._simulated = SimulatedServer(folder, self._recording)

    def figures(self) -> list[Figure]:
        _, alone_ns = self._close(self._simulated.alone)
        closed, together_ns = self._close(self._simulated.shipped)
        with contextlib.ExitStack() as running:
            shipped = running.enter_context(self._served(self._simulated.shipped))
            self._rate = DEMAND * closed
            tell("searching for the best static plan")
            found = self._simulated.find_best(
                self._effort.rows, int(TARGET_S * 1e9), Spent(together_ns, alone_ns), self._seed
            )
            shipped.pause()
            best = running.enter_context(self._served(found.plans))
            best.pause()
            static = {"shipped": [self._ask(shipped)], "found": [self._ask(best)]}
            better = max(static, key=lambda name: static[name][0].in_time)
            server = {"shipped": shipped, "found": best}[better]
            starts = {}
            for name in self._effort.starts:
                static[better].append(self._ask(server))
                best_s = float(np.mean([window.in_time for window in static[better]]))
                starts[name] = self._start(name, best_s)
        figures = _static_figures(closed, self._rate, found.goodput, static)
        best_rounds = [window.in_time for window in static[better]]
        tails = [window.p99 / TARGET_S for window in static[better]]
        figures.append(make_figure(f"best static plan ({better}): p99 / target", "×", tails))
        for name, start in starts.items():
            figures += _start_figures(name, start, best_rounds)
        return figures

    def _document(self, plans: Plans) -> dict[str, Any]:
        document: dict[str, Any] = deepcopy(yaml.safe_load(CONFIG.read_text()))
        pipeline = document["pipelines"][PIPELINE]
        pipeline |= {"slo": {"p99": f"{TARGET_S * 1e3:g}ms"}, "rows_max": ROWS_MAX}
        pipeline["in_flight_max"] = 4096
        set_plans(document, PIPELINE, plans)
        return document

    def _served(self, plans: Plans) -> contextlib.AbstractContextManager[Server]:
        return serving(self._document(plans), self._folder, self._requests[0], workers=1)

    def _close(self, plans: Plans) -> tuple[float, float]:
        """Answers a second in a closed loop, and the processor nanoseconds for each request."""
        document = without_target(self._document(plans))
        seconds = 2 * self._effort.window_s
        with serving(document, self._folder, self._requests[0], workers=1) as server:
            before_s = server.cpu_s()
            loop = closed_loop(server.address, self._requests, CLOSED_CONNECTIONS, seconds)
            run = uvloop.run(loop)
            return run.rate, 1e9 * (server.cpu_s() - before_s) / max(1, run.answers)

    def _ask(self, static: Server) -> Window:
        with static.awake():
            return self._window(static)

    def _window(self, server: Server) -> Window:
        seconds = self._effort.window_s
        schedule = poisson(self._rate, seconds, self._seed)
        run = open_loop(server.address, self._requests, OPEN_CONNECTIONS, schedule)
        latencies = uvloop.run(run)
        in_time = float(np.count_nonzero(latencies <= TARGET_S)) / (schedule.after_ns[-1] / 1e9)
        return Window(in_time, p99_s(latencies))

    def _start(self, name: str, best_s: float) -> Start:
        """Until two windows in a row are good enough, or time is up."""
        document = self._document([WRONG[name]] * len(self._simulated.shipped))
        document["pipelines"][PIPELINE]["tuning"] = {"enabled": True}
        admin_port = free_port()
        windows = list[Window]()
        reached_s = float("inf")
        with serving(document, self._folder, self._requests[0], 1, admin_port) as server:
            begun_s = time.monotonic()
            while time.monotonic() - begun_s < self._effort.limit_s or len(windows) < 2:
                windows.append(self._window(server))
                share = windows[-1].in_time / best_s
                spent_s = time.monotonic() - begun_s
                tell(f"{name}, after {spent_s:.0f} s: {share:.2f} of the best static plan")
                if len(windows) > 1 and all(w.in_time >= REACHED * best_s for w in windows[-2:]):
                    reached_s = spent_s
                    break
            moves = _moves(admin_port)
        last = windows[-2:]
        mean = float(np.mean([window.in_time for window in last]))
        p99 = max(window.p99 for window in last)
        return Start(windows[0].in_time, mean, p99, reached_s, moves)


def _moves(admin_port: int) -> int:
    """How many the tuner has made."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/admin/moves", timeout=10) as reply:
        return sum(msgspec.json.decode(reply.read())["total"].values())


def _static_figures(
    closed: float, demand: float, simulated: float, static: dict[str, list[Window]]
) -> list[Figure]:
    shipped, found = ([one.in_time for one in static[name]] for name in ("shipped", "found"))
    rate = "req/s"
    return [
        make_figure("closed loop, shipped plan, without a target", rate, [closed]),
        make_figure("demand", rate, [demand]),
        make_figure("best static plan: goodput on the simulator", rate, [simulated]),
        make_figure("best static plan: in time", rate, found, anchor="shipped plan",
                    anchor_rounds=shipped),
    ]  # fmt: skip


def _start_figures(name: str, start: Start, best: list[float]) -> list[Figure]:
    mean = float(np.mean(best))
    goal = Goal(REACHED, at_most=False)
    told = [
        ("in time at first / best static", "×", start.first / mean, None),
        ("in time / best static", "×", start.last / mean, goal),
        ("until 0.9 of the best static", "s", start.reached_s, Goal(LIMIT_S)),
        ("p99 / target in the end", "×", start.p99 / TARGET_S, Goal(1.0)),
        ("moves", "", start.moves, None),
    ]
    return [
        make_figure(f"{name}: {what}", unit, [value], goal=goal) for what, unit, value, goal in told
    ]
