"""Bench `candidate_cut_live`: the cut in the daemon, at twice what it answers uncut.

The virtual clock of `candidate_cut` is exact but has neither HTTP nor threads; here both are in,
and so is the client, on the same two cores. Three daemons are up, one asked at a time while the
others stand still: without cut and target, whose closed loop says how much can be asked for; as
shipped; and with the cut left alone, so that the same admission drops requests instead. What the
last one answers in time when asked for that much is its *goodput*; open loops at parts and
multiples of it go to the two that have a target in turn, round by round, for some two minutes. An
answer counts when it comes within the target of its due time, and every answer is compared with the
full ranking of its request.
"""

from __future__ import annotations

import contextlib
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import uvloop
import yaml

from bench.candidate_cut_delivered import Asked, Delivered, Judge
from bench.candidate_cut_quality import CONFIG, Judged, judged_requests
from bench.figure import Figure, Goal, make_figure
from bench.load_client import closed_loop, offer, poisson
from bench.oip_wire import decode, encode
from bench.progress import tell
from bench.served import prepared_data, serving, without_target
from bench.server_process import Server

PIPELINE = "promo-rank-cut"
NEVER = {"from": 9.9, "to": 10.0, "least": 1.0}  # pressures that are not met
TARGET_NS = 50_000_000
CLOSED_CONNECTIONS, OPEN_CONNECTIONS = 64, 256
SETTLING_NS = 1_000_000_000  # of a run, not counted: the pressure is still to be found
LOSS_MAX = 0.01
ROUNDS_S_MAX = 120.0  # no further round is begun that would end later


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds at most, seconds of each run, and the multiples of the goodput."""

    rounds: int
    seconds: float
    factors: tuple[float, ...]


QUICK, FULL = Effort(1, 4.0, (2.0,)), Effort(3, 4.0, (0.5, 1.0, 2.0))


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = prepared_data()
    judged = judged_requests(folder)
    requests = encode(judged.recording, PIPELINE)
    document = yaml.safe_load(CONFIG.read_text())
    uncut = _uncut(document)
    configs = {"free": without_target(uncut), "cut": document, "drop": uncut}
    with contextlib.ExitStack() as running:
        servers = {}
        for name, config in configs.items():
            tell(f"starting the daemon {name!r}")
            servers[name] = running.enter_context(serving(config, folder, requests[0]))
            servers[name].pause()
        bench = _Bench(servers, requests, judged, QUICK if quick else FULL)
        return bench.figures(seed)


def _uncut(document: dict[str, Any]) -> dict[str, Any]:
    """The same pipeline, nothing cut at any pressure."""
    changed = deepcopy(document)
    changed["pipelines"][PIPELINE]["stages"]["cut"]["params"]["share"] = NEVER
    return changed


class _Bench:
    """Daemons that run, and what is measured of them."""

    def __init__(
        self, servers: dict[str, Server], requests: list[bytes], judged: Judged, effort: Effort
    ) -> None:
        self._servers = servers
        self._requests = requests
        self._judge = Judge(judged, TARGET_NS)
        self._effort = effort
        self._late_ms: list[float] = []

    def figures(self, seed: int) -> list[Figure]:
        closed = [self._close() for _ in range(max(2, self._effort.rounds))]
        asked = max(closed)
        goodput = asked * self._run("drop", asked, seed).in_time
        figures = [
            make_figure("closed loop, uncut and without a target", "req/s", closed),
            make_figure("goodput, uncut: in time of as many", "req/s", [goodput]),
        ]
        came: dict[tuple[str, float], list[Delivered]] = {}
        begun_s = time.monotonic()
        for turn in range(self._effort.rounds):
            self._round(turn, goodput, seed + turn, came)
            if (time.monotonic() - begun_s) * (turn + 2) / (turn + 1) > ROUNDS_S_MAX:
                break
        for factor in self._effort.factors:
            figures += _figures(factor, came["cut", factor], came["drop", factor])
        return [*figures, make_figure("client: 99 % sent within", "ms", self._late_ms)]

    def _round(
        self, turn: int, goodput: float, seed: int, came: dict[tuple[str, float], list[Delivered]]
    ) -> None:
        for factor in self._effort.factors:
            for name in ("cut", "drop"):
                tell(f"round {turn + 1}, {factor:g} × {goodput:,.0f} req/s, {name}")
                delivered = self._run(name, factor * goodput, seed)
                came.setdefault((name, factor), []).append(delivered)

    def _close(self) -> float:
        server, seconds = self._servers["free"], self._effort.seconds / 2
        run = closed_loop(server.address, self._requests, CLOSED_CONNECTIONS, seconds)
        with server.awake():
            return uvloop.run(run).rate

    def _run(self, name: str, rate: float, seed: int) -> Delivered:
        """Requests in an order of its own each round, the same for both ways."""
        schedule = poisson(rate, SETTLING_NS / 1e9 + self._effort.seconds, seed)
        count = len(schedule.after_ns)
        picks = np.random.default_rng(seed).integers(len(self._requests), size=count)
        schedule = replace(schedule, picks=picks)
        server = self._servers[name]
        run = offer(server.address, self._requests, OPEN_CONNECTIONS, schedule, keep=True)
        with server.awake():
            offered = uvloop.run(run)
        self._late_ms.append(1e3 * float(np.quantile(offered.late_s, 0.99)))
        answers = zip(picks.tolist(), offered.latencies.tolist(), offered.replies, strict=True)
        asked = [
            Asked(request, 1e9 * latency_s, decode(reply) if reply else None)
            for request, latency_s, reply in answers
        ]
        first = int(np.searchsorted(schedule.after_ns, SETTLING_NS))
        return self._judge.judge(asked[first:])


def _figures(factor: float, cut: list[Delivered], dropped: list[Delivered]) -> list[Figure]:
    told = [
        ("answered within the target", "in_time", 100, Goal(100, at_most=False)),
        ("latency p99 of the answered", "p99_ms", 1, Goal(TARGET_NS / 1e6)),
        ("loss of NDCG@10, answered", "loss", 100, Goal(100 * LOSS_MAX)),
        ("purchases lost, answered", "purchases_lost", 100, Goal(100 * LOSS_MAX)),
        ("candidates kept", "kept", 100, None),
        ("quality delivered, of all asked", "delivered", 100, Goal(99, at_most=False)),
        ("purchases kept, of all asked", "purchases_kept", 100, Goal(99, at_most=False)),
    ]
    return [
        make_figure(
            f"{name} at {factor:g}x",
            "%" if scale == 100 else "ms",
            [scale * float(getattr(one, key)) for one in cut],
            goal=goal,
            anchor="requests dropped instead",
            anchor_rounds=[scale * float(getattr(one, key)) for one in dropped],
        )
        for name, key, scale, goal in told
    ]
