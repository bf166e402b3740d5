"""Bench `query_cache_live`: the cache in the daemon, on a replay in which requests repeat.

Users come by a Zipf law and page through a pool of candidates of their own, two hundred at a time,
the next page half of the one before. ctr-rank answers them, once as it is and once with a cache
around its ranker: two daemons of one process without a target, asked in turn by closed loops and
then by an open loop, while the other one stands still. Every score carries the moment at which it
was made, which the cache keeps beside it: so callers see which are from the cache, and how old they
were when asked for. Every score is compared with what the other daemon answers. Answers that say
that they are degraded, because another request's scores were waited for in vain, are counted apart.
Nobody else's hit ratios follow from these.
"""

from __future__ import annotations

import contextlib
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import uvloop
import yaml
from numpy.typing import NDArray

from bench.ctr_rank_systems import CONFIG
from bench.figure import Figure, Goal, make_figure
from bench.load_client import Offered, closed_loop, offer, poisson
from bench.oip_wire import decode, encode
from bench.progress import tell
from bench.query_cache_stage import age_s
from bench.served import prepared_ctr_rank, serving, without_target
from bench.server_process import Server
from bench.store_batches import draw_ranks
from sedp.columns import Array
from sedp.demo import ctr_rank
from sedp.simulator.oip_client import TensorMetadata, decode_answer
from sedp.simulator.recording import Recording

PIPELINE = "ctr-rank"
USERS, SKEW = 500, "Zipf 1.05"
POOL, PAGE, TURN = 400, 200, 100  # candidates of a user, of a request, and to the next page
PAGES = (POOL - PAGE) // TURN + 1
CONNECTIONS, OPEN_CONNECTIONS = 32, 256
DRAWN = 200_000  # requests: a closed loop does not come to the end of them
LOAD = 0.7  # of the closed loop without a cache: both can answer
EXACT = 1e-4  # sums round by the shape of a batch: this is no other score
SETTLING_S = 1.0  # of the closed loops before the first round: the cache fills
GAIN = Goal(1.2, at_most=False)
INLINE = {"executor": "inline"}  # as the shipped stages are
DEGRADED = b'"degraded"'  # the parameter of an answer
INPUTS = [
    TensorMetadata("user", "INT64", (1,)),
    TensorMetadata("item", "INT64", (-1,)),
    TensorMetadata("user_ids", "INT64", (1, 10)),
    TensorMetadata("item_ids", "INT64", (1, -1, 16)),
    TensorMetadata("dense", "FP32", (1, -1, 13)),
]


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds of closed loops and their seconds, those of the open loop, and the cache's TTL."""

    rounds: int
    closed_s: float
    open_s: float
    ttl_s: int


QUICK, FULL = Effort(2, 3.0, 8.0, 3), Effort(5, 6.0, 40.0, 10)


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    effort = QUICK if quick else FULL
    folder = prepared_ctr_rank()
    bodies = encode(_pages(), PIPELINE, INPUTS)
    configs = {"plain": _plain(), "cached": _cached(effort.ttl_s)}
    with contextlib.ExitStack() as running:
        servers = {}
        for name, config in configs.items():
            tell(f"starting the daemon {name!r}")
            servers[name] = running.enter_context(serving(config, folder, bodies[0], workers=1))
            servers[name].pause()
        return _Bench(servers, bodies, effort, seed).figures()


def _plain() -> dict[str, Any]:
    """The shipped pipeline, and when each score was made."""
    document = without_target(yaml.safe_load(CONFIG.read_text()))
    pipeline = document["pipelines"][PIPELINE]
    pipeline["inputs"] |= {"user": "INT64[1]", "item": "INT64[n]"}
    pipeline["outputs"] = {"scores": "FP32[n]", "made": "FP32[n]"}
    kind = "bench.query_cache_stage:Stamp"
    pipeline["stages"]["stamp"] = {**INLINE, "kind": kind, "params": {"item": "item"}}
    return document


def _cached(ttl_s: int) -> dict[str, Any]:
    """The same between the halves of a cache, whose columns bear names of their own."""
    document = deepcopy(_plain())
    pipeline = document["pipelines"][PIPELINE]
    params = {"user": "user", "item": "item", "scores": ["known", "known_made"]}
    cache = {**INLINE, "kind": "query_cache", "params": params | {"ttl": f"{ttl_s}s"}}
    fill = {
        **INLINE,
        "kind": "query_cache_fill",
        "params": {"scores": {"known": "scores", "known_made": "made"}},
    }
    for name in ("embedding", "stamp"):
        pipeline["stages"][name]["after"] = ["cache"]
    pipeline["stages"] = {"cache": cache, **pipeline["stages"], "fill": fill}
    pipeline["outputs"] = {"known": "FP32[n]", "known_made": "FP32[n]"}
    return document


def _pages() -> Recording:
    """The pages of each user as requests, one user after the other."""
    drawn = ctr_rank.make_requests(USERS, POOL)
    users = np.repeat(np.arange(USERS), PAGES)
    firsts = users * POOL + np.tile(np.arange(PAGES) * TURN, USERS)
    rows = (firsts[:, np.newaxis] + np.arange(PAGE)).ravel()
    columns = {
        "user": users,
        "item": rows,
        "user_ids": drawn["user_ids"][users],
        "item_ids": drawn["item_ids"][rows],
        "dense": drawn["dense"][rows],
    }
    return Recording(np.zeros(len(users), np.int64), np.arange(len(users) + 1) * PAGE, columns)


class _Bench:
    """Two daemons, and what is asked of both."""

    def __init__(
        self,
        servers: dict[str, Server],
        bodies: list[bytes],
        effort: Effort,
        seed: int,
    ) -> None:
        self._servers = servers
        self._bodies = bodies
        self._effort = effort
        self._seed = seed
        self._right = _answers(servers["plain"], bodies)
        self._picks = _draw(np.random.default_rng(seed))
        self._drawn = [bodies[pick] for pick in self._picks.tolist()]

    def figures(self) -> list[Figure]:
        effort = self._effort
        rates: dict[str, list[float]] = {name: [] for name in self._servers}
        costs: dict[str, list[float]] = {name: [] for name in self._servers}
        for name in self._servers:
            self._close(name, SETTLING_S)
        for turn in range(effort.rounds):
            for name in self._servers:
                tell(f"closed loop {turn + 1} of {effort.rounds}, {name}")
                rate, cost = self._close(name, effort.closed_s)
                rates[name].append(rate)
                costs[name].append(cost)
        gains = [a / b for a, b in zip(rates["cached"], rates["plain"], strict=True)]
        anchor = "without a cache"
        return [
            make_figure("closed loop", "req/s", rates["cached"], anchor=anchor,
                        anchor_rounds=rates["plain"]),
            make_figure("closed loop: throughput gained", "×", gains, goal=GAIN),
            make_figure("server CPU", "ms/req", costs["cached"], anchor=anchor,
                        anchor_rounds=costs["plain"]),
            *self._open(LOAD * max(rates["plain"])),
        ]  # fmt: skip

    def _close(self, name: str, seconds: float) -> tuple[float, float]:
        """Answers a second, and CPU milliseconds of the server for each."""
        server = self._servers[name]
        with server.awake():
            before_s = server.cpu_s()
            run = uvloop.run(closed_loop(server.address, self._drawn, CONNECTIONS, seconds))
            return run.rate, 1e3 * (server.cpu_s() - before_s) / max(1, run.answers)

    def _open(self, rate: float) -> list[Figure]:
        schedule = poisson(rate, self._effort.open_s, self._seed)
        picks = self._picks[np.arange(len(schedule.after_ns)) % DRAWN]
        came = {}
        for name, server in self._servers.items():
            tell(f"open loop at {rate:,.0f} req/s, {name}")
            run = offer(
                server.address,
                self._bodies,
                OPEN_CONNECTIONS,
                replace(schedule, picks=picks),
                keep=True,
            )
            with server.awake():
                came[name] = uvloop.run(run)
        seen = self._look("cached", came["cached"], picks)
        without = self._look("plain", came["plain"], picks)
        p99_ms = {name: 1e3 * _p99(offered.latencies) for name, offered in came.items()}
        at = f"at {rate:,.0f} req/s"
        return [
            make_figure(f"{at}: hits a candidate", "share", [seen.candidate_hits]),
            make_figure(f"{at}: requests of hits only", "share", [seen.request_hits]),
            make_figure(f"{at}: oldest score when it was asked for", "s", [seen.oldest_s],
                        goal=Goal(self._effort.ttl_s)),
            make_figure(f"{at}: wrong scores", "rows", [seen.wrong], goal=Goal(0),
                        anchor="without a cache", anchor_rounds=[without.wrong]),
            make_figure(f"{at}: compared scores", "rows", [seen.rows]),
            make_figure(f"{at}: not answered", "share", [seen.lost], anchor="without a cache",
                        anchor_rounds=[without.lost]),
            make_figure(f"{at}: marked degraded", "share", [seen.degraded]),
            make_figure(f"{at}: latency p99", "ms", [p99_ms["cached"]], anchor="without a cache",
                        anchor_rounds=[p99_ms["plain"]]),
        ]  # fmt: skip

    def _look(self, name: str, offered: Offered, picks: NDArray[np.int64]) -> Seen:
        """Into every answer."""
        scores, stamps = ("known", "known_made") if name == "cached" else ("scores", "made")
        rows = hits = whole = wrong = answered = degraded = 0
        oldest_s = 0.0
        for number, reply in enumerate(offered.replies):
            if not reply:
                continue
            answered += 1
            if DEGRADED in reply:  # waited in vain, and was told that scores may be old
                degraded += 1
                continue
            columns, right = decode(reply), self._right[picks[number]]
            ages_s = age_s(int(offered.due_ns[number]), columns[stamps].reshape(-1))
            known = int(np.count_nonzero(ages_s > 0))
            wrong += int(np.count_nonzero(np.abs(columns[scores].reshape(-1) - right) > EXACT))
            rows, hits, whole = rows + len(right), hits + known, whole + (known == len(right))
            oldest_s = max(oldest_s, float(ages_s.max()))
        whole_share = whole / max(1, answered - degraded)
        return Seen(
            hits / max(1, rows),
            whole_share,
            oldest_s,
            wrong,
            rows,
            1 - answered / len(picks),
            degraded / len(picks),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What callers saw; shares are 0..1.

    Args:
        candidate_hits: scores that had been made before they were asked for.
        request_hits: answers with such scores only.
        oldest_s: greatest age of a score when it was asked for.
        wrong: scores that are not the recorded ones, of all `rows`.
        lost: requests without an answer.
        degraded: answers that say so, which the other figures leave out.
    """

    candidate_hits: float
    request_hits: float
    oldest_s: float
    wrong: int
    rows: int
    lost: float
    degraded: float


def _draw(dice: np.random.Generator) -> NDArray[np.int64]:
    """int64[DRAWN], pages: of a user by Zipf's law, any of the pages."""
    return draw_ranks(SKEW, USERS, DRAWN, dice) * PAGES + dice.integers(PAGES, size=DRAWN)


def _answers(server: Server, bodies: list[bytes]) -> list[Array]:
    """The scores of every page, asked for one by one."""
    tell("asking for every page once")
    scores = []
    with server.awake():
        for body in bodies:
            headers, answer = server.answer(body)
            scores.append(decode_answer(dict(headers.items()), answer)["scores"].reshape(-1))
    return scores


def _p99(latencies: NDArray[np.float64]) -> float:
    """Of all; infinite when more than one in a hundred was not answered."""
    return float(np.percentile(latencies, 99, method="inverted_cdf"))
