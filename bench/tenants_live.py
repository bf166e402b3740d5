"""Bench `tenants_live`: the daemon with a noisy tenant among ten, and with rare large requests.

ctr-rank is served by two workers with a latency target; callers show keys. Loads are parts of the
closed loop's greatest rate without the target, from a client on the same two cores. *Noisy*: ten
tenants ask alike, then one of them for ten times as much. What that does to the others is seen
beside the calm before, and beside the same load from all alike, which is what nobody could have
done better about without refusing what there is room for. The same once more with
`slo.isolate_tenants`, which refuses just that. *Rare*: of two hundred requests one is
four or ten times as large.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import uvloop
import yaml
from numpy.typing import NDArray

from bench.ctr_rank_systems import CONFIG
from bench.ctr_rank_wire import Requests
from bench.figure import Figure, Goal, make_figure
from bench.load_client import closed_loop, open_loop, poisson
from bench.overload_steps import p99_s
from bench.progress import tell
from bench.served import prepared_ctr_rank, serving, without_target
from bench.server_process import Server
from bench.slo import LIMIT_S
from sedp.daemon.access.caller import Scope
from sedp.daemon.access.key_file import KeyEntry, KeyFile, edit_key_file
from sedp.daemon.access.keys import make_key
from sedp.demo import ctr_rank

TENANTS, NOISE = 10, 10.0  # the noisy one is the first
CANDIDATES, LARGE = 100, (400, 1_000)
DISTINCT = 64  # requests of each tenant and size
RARE = 0.0025  # of requests, of each large size
RARE_LOADS = (0.7, 2.0)  # of the closed loop
CLOSED_CONNECTIONS, OPEN_CONNECTIONS = 32, 256
CLOSED_S = 1.5
MOVED = Goal(1.2)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds, seconds of each run, and loads of the calm as parts of the closed loop's rate."""

    rounds: int
    seconds: float
    calm_loads: tuple[float, ...]


QUICK, FULL = Effort(1, 4.0, (0.4,)), Effort(3, 6.0, (0.3, 0.5))


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = prepared_ctr_rank()
    document = yaml.safe_load(CONFIG.read_text())
    document["pipelines"]["ctr-rank"] |= {
        "slo": {"p99": f"{LIMIT_S * 1e3:g}ms"},
        "in_flight_max": 1024,
    }
    with tempfile.TemporaryDirectory() as scratch:
        keys = _make_keys(Path(scratch) / "keys.yaml")
        document["daemon"]["auth"] = {"keys": str(Path(scratch) / "keys.yaml")}
        bodies = [body for key in keys for body in _requests(CANDIDATES, key)]
        large = [body for rows in LARGE for body in _requests(rows, keys[0])]
        effort = QUICK if quick else FULL
        with serving(without_target(document), folder, bodies[0]) as server:
            closed = [
                uvloop.run(closed_loop(server.address, bodies, CLOSED_CONNECTIONS, CLOSED_S))
                for _ in range(3)
            ]
        with serving(document, folder, bodies[0]) as server:
            bench = _Bench(server, [*bodies, *large], effort, seed)
            figures = bench.figures([run.rate for run in closed])
        document["pipelines"]["ctr-rank"]["slo"]["isolate_tenants"] = True
        with serving(document, folder, bodies[0]) as server:
            bench = _Bench(server, bodies, effort, seed)
            greatest = max(run.rate for run in closed)
            return figures + bench.noisy(greatest, "noisy tenant, isolated")


def _make_keys(path: Path) -> list[str]:
    """A key for each tenant."""
    entries, keys = {}, []
    for tenant in range(TENANTS):
        id_, key, sha256 = make_key()
        entries[id_] = KeyEntry(sha256=sha256, tenant=f"tenant-{tenant}", scopes=(Scope.INFER,))
        keys.append(key)
    edit_key_file(path, lambda _: KeyFile(keys=entries))
    return keys


def _requests(candidates: int, key: str) -> list[bytes]:
    columns = ctr_rank.make_requests(DISTINCT, candidates)
    return Requests(columns, candidates).oip_binary(key=key)


class _Bench:
    """`requests`: `DISTINCT` of each tenant, then as many of each large size."""

    def __init__(self, server: Server, requests: list[bytes], effort: Effort, seed: int) -> None:
        self._server = server
        self._requests = requests
        self._effort = effort
        self._seed = seed
        self._dice = np.random.default_rng(seed)

    def figures(self, closed: list[float]) -> list[Figure]:
        greatest = max(closed)
        figures = [make_figure("closed loop, without a target", "req/s", closed)]
        figures += self.noisy(greatest, "noisy tenant")
        for load in RARE_LOADS:
            figures += self._rare(load, greatest)
        return figures

    def noisy(self, closed: float, name: str) -> list[Figure]:
        """What a tenant that asks for ten does to the others, at all loads of the calm."""
        loads = self._effort.calm_loads
        return [figure for load in loads for figure in self._noisy(load, closed, name)]

    def _send(self, rate: float, weights: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Of each request its kind, a tenant or a large size, drawn by weight, and its latency."""
        schedule = poisson(rate, self._effort.seconds, self._seed)
        count = len(schedule.after_ns)
        kinds = self._dice.choice(len(weights), count, p=weights / weights.sum())
        picks = kinds * DISTINCT + np.arange(count) % DISTINCT
        schedule = replace(schedule, picks=picks)
        run = open_loop(self._server.address, self._requests, OPEN_CONNECTIONS, schedule)
        return kinds, uvloop.run(run)

    def _noisy(self, load: float, closed: float, name: str) -> list[Figure]:
        alike, noisy = np.ones(TENANTS), np.ones(TENANTS)
        noisy[0] = NOISE
        rate, more = load * closed, load * closed * noisy.mean()
        p99: dict[str, list[float]] = {"calm": [], "noisy": [], "even": []}
        in_time: dict[str, list[float]] = {"calm": [], "noisy": [], "even": []}
        own = []
        for turn in range(self._effort.rounds):
            tell(f"a noisy tenant at {load:g} of the closed loop, round {turn + 1}")
            for phase, asked, weights in (
                ("calm", rate, alike),
                ("noisy", more, noisy),
                ("even", more, alike),
            ):
                kinds, latencies = self._send(asked, weights)
                others = latencies[kinds > 0]
                p99[phase].append(p99_s(others) / LIMIT_S)
                in_time[phase].append(float(np.mean(others <= LIMIT_S)))
                if phase == "noisy":
                    own.append(float(np.mean(latencies[kinds == 0] <= LIMIT_S)))
        at = f"{name}, {load:g} → {load * noisy.mean():.2g} of the closed loop"
        moved = [a / b for a, b in zip(p99["noisy"], p99["calm"], strict=True)]
        beside = [a / b for a, b in zip(p99["noisy"], p99["even"], strict=True)]
        return [
            _beside(f"{at}: others' p99 / target", "×", p99["noisy"], "calm", p99["calm"]),
            make_figure(f"{at}: others' p99 / calm", "×", moved, goal=MOVED),
            make_figure(f"{at}: others' p99 / all alike", "×", beside, goal=MOVED),
            _beside(f"{at}: others in time", "share", in_time["noisy"], "calm", in_time["calm"]),
            _beside(f"{at}: its own in time", "share", own, "all, alike", in_time["even"]),
        ]

    def _rare(self, load: float, closed: float) -> list[Figure]:
        weights = np.concatenate(
            [np.full(TENANTS, (1 - len(LARGE) * RARE) / TENANTS), np.full(len(LARGE), RARE)]
        )
        came = []
        for turn in range(self._effort.rounds):
            tell(f"rare large requests at {load:g} of the closed loop, round {turn + 1}")
            came.append(self._send(load * closed, weights))
        kinds, latencies = (np.concatenate(parts) for parts in zip(*came, strict=True))
        usual = latencies[kinds < TENANTS]
        figures = []
        for number, rows in enumerate(LARGE):
            rare = latencies[kinds == TENANTS + number]
            at = f"{rows} candidates, {len(rare)} requests at {load:g} of the closed loop"
            figures += [
                _beside(f"{at}: in time", "share", [_in_time(rare)], "usual", [_in_time(usual)]),
                _beside(
                    f"{at}: p99 of the answered / target",
                    "×",
                    [p99_s(rare) / LIMIT_S],
                    "usual",
                    [p99_s(usual) / LIMIT_S],
                    Goal(1.0),
                ),
            ]
        return figures


def _in_time(latencies: Floats) -> float:
    return float(np.mean(latencies <= LIMIT_S)) if len(latencies) else float("nan")


def _beside(
    name: str,
    unit: str,
    rounds: list[float],
    anchor: str,
    anchor_rounds: list[float],
    goal: Goal | None = None,
) -> Figure:
    return make_figure(name, unit, rounds, goal=goal, anchor=anchor, anchor_rounds=anchor_rounds)
