"""Bench `overload`: the daemon under more load than it can carry, beside its own best.

ctr-rank is served by two workers with a latency target and nothing set by hand. First what it can
do: the closed loop's greatest rate, without the target, and the SLO goodput. Then open loops above
that, from a client on the same two cores: steps up and back, three priorities together, bursts, and
callers that ask again, at once or after a pause, whenever they are refused. An answer counts when
it comes within the target of its due time. No step asks for more than the client can send in time,
which is measured as well: *offered* is what it came to. Where no rate keeps the target, as on a
machine that has other work, loads are multiples of the rate that the search ended at, and the
figures say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop
import yaml
from numpy.typing import NDArray

from bench.controllers_traces import burst_traces
from bench.ctr_rank_systems import CONFIG
from bench.ctr_rank_wire import Requests
from bench.figure import Figure, Goal, make_figure
from bench.load_client import Offered, Schedule, closed_loop, offer, poisson
from bench.overload_steps import Sent, Step, burst_figures, step_figures
from bench.progress import tell
from bench.served import prepared_ctr_rank, serving, without_target
from bench.server_process import Server
from bench.slo import LIMIT_S, Search, find_goodputs
from sedp.demo import ctr_rank

CANDIDATES = 100
CLOSED_CONNECTIONS, OPEN_CONNECTIONS = 32, 256
QUIET = 0.5  # of the goodput, before and after a step
TOP_SHARE = 0.05  # of requests that are of the highest level
LEVELS = 3
RETRIES = 5
STORM = 1.25  # times the goodput: those who ask again multiply it
CALM = 0.9  # of the goodput, from new callers, when the storm is over
PAUSE_S, PATIENCE_S = 2.0, 30.0  # of callers who ask again
LATE_S = 10.0  # after the storm: in the last second of these the goodput is to be back
MEMORY_GROWTH = Goal(1.1)
MORE_THAN_SENT = 10.0  # times the goodput, to see what the client can send
CLIENT_SHARE = 0.8  # of that: it has to be in time
RATE = "req/s"


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds of closed loops, rounds of each step, its seconds, and those of the search."""

    closed_s: float
    rounds: int
    step_s: float
    quiet_s: float
    searches: int
    search_s: float
    factors: tuple[float, ...]
    bursts_s: float
    storm_s: float


QUICK = Effort(1.0, 1, 2.5, 0.75, 10, 1.0, (1.4, 2.0, 3.0), 3.0, 3.0)
FULL = Effort(2.0, 2, 4.0, 1.5, 11, 2.0, (1.4, 2.0, 3.0, 5.0, 10.0), 8.0, 30.0)


def measure(quick: bool, seed: int, data_dir: Path | None = None) -> list[Figure]:
    """All figures of this bench.

    Args:
        data_dir: with recorded traces, as bursts; drawn ones without it.
    """
    folder = prepared_ctr_rank()
    document = yaml.safe_load(CONFIG.read_text())
    document["pipelines"]["ctr-rank"] |= {
        "slo": {"p99": f"{LIMIT_S * 1e3:g}ms"},
        "priorities": {"levels": LEVELS, "default": 2},
        "in_flight_max": 1024,  # room for whatever admission lets in
    }
    effort = QUICK if quick else FULL
    bodies = [body for level in range(1, LEVELS + 1) for body in _requests(level)]
    with serving(without_target(document), folder, bodies[0]) as server:
        closed = [
            uvloop.run(closed_loop(server.address, bodies, CLOSED_CONNECTIONS, effort.closed_s))
            for _ in range(3)
        ]
    with serving(document, folder, bodies[0]) as server:
        bench = _Bench(server, bodies, effort, seed, data_dir)
        return bench.figures([run.rate for run in closed])


def _requests(level: int) -> list[bytes]:
    return Requests(ctr_rank.make_requests(), CANDIDATES).oip_binary(priority=level)


class _Bench:
    """One daemon; `bodies` are the same requests of each level in turn."""

    def __init__(
        self,
        server: Server,
        bodies: list[bytes],
        effort: Effort,
        seed: int,
        data_dir: Path | None,
    ) -> None:
        self._server = server
        self._bodies = bodies
        self._effort = effort
        self._seed = seed
        self._data_dir = data_dir
        self._distinct = len(bodies) // LEVELS
        self._dice = np.random.default_rng(seed)

    def figures(self, closed: list[float]) -> list[Figure]:
        effort = self._effort
        goodput, found = self._find_goodput(max(closed))
        client = self._client_rate(goodput)
        figures = [
            make_figure("closed loop, without a target", RATE, closed),
            *found,
            make_figure("sent by the client at most", RATE, [client]),
            self._beyond(max(closed), goodput),
        ]
        memory_mb, refusal = self._server.memory_mb("Rss"), self._refusal(goodput, client)
        figures.append(make_figure("processor time of a refusal / of an answer", "×", [refusal]))
        for factor in effort.factors:
            tell(f"step to {factor:g} × the goodput")
            rate = min(factor * goodput, CLIENT_SHARE * client)
            steps = [self._step(rate, goodput) for _ in range(effort.rounds)]
            figures += step_figures(factor, goodput, refusal, steps)
        figures += [*self._bursts(goodput), self._storm(goodput), self._patient_storm(goodput)]
        grown = self._server.memory_mb("Rss") / memory_mb
        return [
            *figures,
            make_figure("RSS before", "MB", [memory_mb]),
            make_figure("RSS in the end / before", "×", [grown], goal=MEMORY_GROWTH),
        ]

    def _find_goodput(self, closed: float) -> tuple[float, list[Figure]]:
        """The rate that loads are multiples of, and what is told of it."""
        search = Search.below(closed, self._latencies)
        (goodput,) = find_goodputs([search], self._effort.searches, self._effort.search_s)
        figures = [make_figure(f"goodput, p99 <= {LIMIT_S * 1e3:g} ms", RATE, [goodput])]
        if goodput:
            return goodput, figures
        name = "no rate kept the target; taken for the goodput below"
        return search.middle, [*figures, make_figure(name, RATE, [search.middle])]

    def _latencies(self, rate: float, seconds: float) -> NDArray[np.float64]:
        return self._send(poisson(rate, seconds, self._seed).after_ns).latencies

    def _client_rate(self, goodput: float) -> float:
        """Requests a second that the client sends when far more fall due."""
        after_ns = poisson(MORE_THAN_SENT * goodput, 1.0, self._seed).after_ns
        _, offered = self._offer(after_ns, 0)
        return float(np.count_nonzero(after_ns / 1e9 + offered.late_s <= after_ns[-1] / 1e9))

    def _send(self, after_ns: NDArray[np.int64], retries: int = 0) -> Sent:
        levels, offered = self._offer(after_ns, retries)
        return Sent(after_ns / 1e9, offered.latencies, levels)

    def _offer(
        self, after_ns: NDArray[np.int64], retries: int
    ) -> tuple[NDArray[np.int64], Offered]:
        """The levels that were drawn, and what came."""
        shares = TOP_SHARE, 0.5 - TOP_SHARE, 0.5
        levels = self._dice.choice(LEVELS, len(after_ns), p=shares)
        picks = levels * self._distinct + np.arange(len(after_ns)) % self._distinct
        schedule = Schedule(after_ns, picks, retries)
        run = offer(self._server.address, self._bodies, OPEN_CONNECTIONS, schedule)
        return levels, uvloop.run(run)

    def _beyond(self, closed: float, goodput: float) -> Figure:
        """Twice the closed loop's greatest rate: where servers without admission answer nobody."""
        tell("twice the closed loop's rate")
        seconds = self._effort.step_s
        rounds = []
        for _ in range(self._effort.rounds):
            latencies = self._latencies(2 * closed, seconds)
            rounds.append(float(np.count_nonzero(latencies <= LIMIT_S)) / seconds / goodput)
        name = "twice the closed loop's rate: in time / goodput"
        return make_figure(name, "×", rounds, goal=Goal(0.9, False))

    def _step(self, high: float, goodput: float) -> Step:
        effort, quiet_s = self._effort, self._effort.quiet_s
        low = QUIET * goodput
        after_ns, start_s = [], 0.0
        for number, (rate, seconds) in enumerate(
            ((low, quiet_s), (high, effort.step_s), (low, quiet_s))
        ):
            times = poisson(rate, seconds, self._seed + number).after_ns + int(start_s * 1e9)
            after_ns.append(times[times < (start_s + seconds) * 1e9])
            start_s += seconds
        return Step.of(self._send(np.concatenate(after_ns)), quiet_s, effort.step_s)

    def _bursts(self, goodput: float) -> list[Figure]:
        tell("bursts")
        rng = np.random.default_rng(self._seed)
        figures = []
        for trace in burst_traces(goodput, self._effort.bursts_s, rng, self._data_dir):
            after_ns = np.sort(np.concatenate([times_ns for times_ns, _ in trace.streams]))
            figures += burst_figures(trace.name, goodput, self._send(after_ns))
        return figures

    def _storm(self, goodput: float) -> Figure:
        """Twice the goodput from callers who ask again at once, then a load that can be carried."""
        tell("callers who ask again at once")
        self._send(poisson(2 * goodput, self._effort.storm_s, self._seed).after_ns, RETRIES)
        latencies = self._latencies(0.9 * goodput, self._effort.step_s)
        share = float(np.mean(latencies <= LIMIT_S))
        name = f"0.9 of the goodput, right after a storm of {self._effort.storm_s:g} s: in time"
        return make_figure(name, "share", [share], goal=Goal(0.95, False))

    def _patient_storm(self, goodput: float) -> Figure:
        """More than can be answered, from callers who ask every two seconds until they are."""
        tell("callers who ask again after a pause")
        storm_s = self._effort.storm_s
        storm = poisson(STORM * goodput, storm_s, self._seed).after_ns
        calm = poisson(CALM * goodput, LATE_S, self._seed + 1).after_ns + int(storm_s * 1e9)
        after_ns = np.concatenate([storm[storm < storm_s * 1e9], calm])
        retries, pause_ns = int(PATIENCE_S / PAUSE_S), int(PAUSE_S * 1e9)
        schedule = Schedule(after_ns, retries=retries, pause_ns=pause_ns)
        run = offer(self._server.address, self._bodies, OPEN_CONNECTIONS, schedule)
        offered = uvloop.run(run)
        begun_ns = (offered.due_ns - after_ns).min()  # of most that is so: they asked once
        ended_s = (offered.due_ns - begun_ns) / 1e9 + offered.latencies - storm_s
        is_late = (ended_s >= LATE_S - 1) & (ended_s < LATE_S)
        in_time = np.count_nonzero(is_late & (offered.latencies <= LIMIT_S))
        name = f"tenth second after {storm_s:g} s of callers who ask again: in time / newly asked"
        return make_figure(name, "×", [in_time / (CALM * goodput)], goal=Goal(0.95, False))

    def _refusal(self, goodput: float, client: float) -> float:
        """What the server's processors do for a request that it refuses, by one that it answers."""
        tell("what a refusal costs")
        answer_s, _ = self._cpu_s(0.8 * goodput)
        spent_s, answered = self._cpu_s(CLIENT_SHARE * client)
        refused = int(CLIENT_SHARE * client * self._effort.step_s) - answered
        return (spent_s * answered - answer_s * answered) / max(1, refused) / answer_s

    def _cpu_s(self, rate: float) -> tuple[float, int]:
        """Processor seconds for each answer, whatever else is done; and how many there were."""
        before_s = self._server.cpu_s()
        latencies = self._latencies(rate, self._effort.step_s)
        answered = int(np.count_nonzero(np.isfinite(latencies)))
        return (self._server.cpu_s() - before_s) / max(1, answered), answered
