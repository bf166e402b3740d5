"""Tuning while serving: looks, asks the tuner, and makes its moves.

Every process tunes the pipelines that it serves, by what it sees itself: workers of one daemon may
come to different knobs. One tuner has all pipelines of the process, for they share its cores; it is
made anew, with what it has learned, whenever one is opened or closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sedp.daemon.cache_tuning import CacheTuning
from sedp.daemon.flips import Flips, hold
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.daemon.knobs import KnobsInForce
from sedp.daemon.monitoring.merging import RECENT_MOVES_MAX
from sedp.daemon.monitoring.statistics import LoadStatistics
from sedp.daemon.plan_file import LearnedPlan, learned_ram, write_learned
from sedp.daemon.repository import Repository, Served
from sedp.engine.graph import Graph
from sedp.engine.statistics import EngineStatistics
from sedp.manager.bounds import Bounds, default_bounds
from sedp.manager.cost_model import Cost
from sedp.manager.moves import Move
from sedp.manager.observation import Observation, StageKey, observe
from sedp.manager.tuner import ModelTuner
from sedp.pipeline import compile_graph

IDLE_S = 1.0  # between two looks whether there is anything to tune
WRITE_GAP_NS = 60_000_000_000  # between two writes of what was learned
PROCESS = ""  # whose knobs these are that are no pipeline's, where pipelines are named
GIVE_WAY_S = 50e-6  # or the loop would get the interpreter back only 5 ms after each call it makes
LINES_MAX = 8  # logged of the moves of one look; all of them are in the log of moves

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TuningState:
    """What one process does about its knobs.

    Args:
        pid: of the process.
        moves_total: since the start, by pipeline; "" is the process.
        moves: the last ones, oldest first.
        plans: of the pipelines that are tuned.
    """

    pid: int
    frozen: bool
    moves_total: Mapping[str, int]
    moves: tuple[Move, ...]
    plans: tuple[LearnedPlan, ...]


class LiveTuning:
    """Make it, and use it, on one running loop: `begin`, and in the end `end`.

    Args:
        cores: that this process may use.
        in_flight: its account of bytes.
        caches: moves the store's RAM, if that may be moved.
    """

    def __init__(
        self,
        repository: Repository,
        cores: float,
        in_flight: InFlightBytes,
        caches: CacheTuning | None = None,
    ) -> None:
        self._repository = repository
        self._cores = cores
        self._caches = caches
        self._tuner = ModelTuner()
        self._served: list[Served] = []
        self._graph = Graph((), ())
        self._knobs = KnobsInForce(in_flight)
        self._flips = Flips()
        self._before = EngineStatistics((), ())
        self._looked_ns = self._cpu_ns = 0
        self._total: Counter[str] = Counter()
        self._written = 0  # moves when it was last written what was learned
        self._written_ns = time.monotonic_ns()
        self._running: asyncio.Task[None] | None = None

    # Telling ----------------------------------------------------------------------------------

    def state(self, moves_max: int) -> TuningState:
        """Of now, with at most so many moves."""
        self._follow()
        moves = list(self._tuner.log)
        plans = (self._learned(served) for served in self._served if served.management.tuning)
        recent = tuple(moves[-moves_max:]) if moves_max else ()
        total = dict(self._total)
        return TuningState(os.getpid(), self._tuner.frozen, total, recent, tuple(plans))

    def statistics(self) -> LoadStatistics:
        """What it does itself, and what is told of the load by those it looks at."""
        return LoadStatistics(
            int(self._tuner.frozen),
            {
                name: self._total[name]
                for name in self._total.keys() & {PROCESS, *self._repository.pipelines}
            },
            tuple(self._tuner.log)[-RECENT_MOVES_MAX:],
            {name: dict(counts) for name, counts in self._repository.shed.items()},
            tuple(own for served in self._repository.served() for own in served.own_counts()),
            {one.pipeline.name: self._knobs.places(one) for one in self._repository.served()},
            self._knobs.held,
        )

    def freeze(self, frozen: bool) -> None:
        """Make no move, or make moves again; so does `auto`."""
        hold(self._repository.served(), frozen)
        if frozen:
            self._tuner.freeze()
        else:
            self._tuner.thaw()

    # Working ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Look and move until `end`."""
        self._follow()
        self._running = asyncio.get_running_loop().create_task(self._run())
        self._running.add_done_callback(_check_end)

    async def end(self) -> None:
        """Move no more, and keep what was learned; nothing when it has ended."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
            await self.write()

    async def _run(self) -> None:
        if self._caches is not None:
            await self._caches.begin_with(learned_ram(one.learned for one in self._served))
        while True:
            every_s = self._every_s()
            await asyncio.sleep(min(every_s, IDLE_S))  # a reload may change it meanwhile
            now_ns = time.monotonic_ns()
            if every_s <= IDLE_S or now_ns - self._looked_ns >= every_s * 1e9:
                await self.look()
            await self.look_at_caches()
            self.look_at_executors()
            if self._tuner.log.total > self._written and now_ns - self._written_ns >= WRITE_GAP_NS:
                await self.write()

    async def look(self) -> None:
        """Take one look, and make the moves that follow from it."""
        if self._follow() or not self._graph.stages:
            return
        observation = self._observe()
        if not any(seen.target_ns for seen in observation.pipelines):
            return
        tuner = self._tuner
        # In a thread, as a search takes tenths of a second.
        moves = await asyncio.to_thread(tuner.step, observation)
        if self._follow() or tuner is not self._tuner:
            return
        self._knobs.change(moves)
        self._count(moves)

    async def look_at_caches(self) -> None:
        """Take a look at the store's RAM if one is due, and make the move that follows from it."""
        if self._caches is not None:
            move = await self._caches.step(self._tuner.log, self._tuner.frozen)
            if move is not None:
                self._count([move])

    def look_at_executors(self) -> None:
        """Tell where `auto` has moved stages, and what came of it; not while a look is taken."""
        self._follow()
        self._count(self._flips.tell(self._served, self._tuner.log))

    def _count(self, moves: Sequence[Move]) -> None:
        for move in moves:
            self._total[move.pipeline] += 1  # `PROCESS` where it is no pipeline's
        _log_moves(moves)

    async def write(self) -> None:
        """Keep what was learned in the plan files that the config names."""
        self._written, self._written_ns = self._tuner.log.total, time.monotonic_ns()
        kept = [
            (tuning.plan_path, self._learned(served))
            for served in self._served
            if (tuning := served.management.tuning) is not None
            and tuning.plan_path is not None
            and tuning.writes_plan
        ]
        for path, learned in kept:
            try:
                await asyncio.to_thread(write_learned, path, learned)
            except OSError as err:
                log.warning("plan file %s cannot be written: %s", path, err.strerror)

    # ------------------------------------------------------------------------------------------

    def _every_s(self) -> float:
        tuned = (one.management.tuning for one in self._repository.served())
        return min((tuning.every_ns / 1e9 for tuning in tuned if tuning), default=IDLE_S)

    def _learned(self, served: Served) -> LearnedPlan:
        ram_bytes = None if self._caches is None else self._caches.ram_bytes
        return self._knobs.learned(served, self._tuner.costs, ram_bytes)

    def _follow(self) -> bool:
        """Begin anew if other pipelines are served than at the last look; whether it was so."""
        served = list(self._repository.served())
        if [id(one.engine) for one in served] == [id(one.engine) for one in self._served]:
            return False
        kept = {id(one.engine) for one in self._served}
        self._knobs.follow(served)
        costs = dict(self._tuner.costs)
        for one in served:
            if id(one.engine) not in kept and one.learned is not None:
                costs |= one.learned.costs
        self._served = served
        self._graph = compile_graph([one.pipeline for one in served])
        stages = self._knobs.executors.keys()
        self._begin_anew({key: cost for key, cost in costs.items() if key in stages})
        return True

    def _begin_anew(self, costs: Mapping[StageKey, Cost]) -> None:
        bounds = {
            (one.pipeline.name, bound.name): self._bounds(one, bound.name)
            for one in self._served
            if one.management.tuning is not None
            for bound in one.pipeline.stages
        }
        before, self._tuner = self._tuner, ModelTuner(bounds, costs, _give_way)
        self._tuner.log = before.log
        self.freeze(before.frozen)
        self._before = self._statistics()
        self._looked_ns, self._cpu_ns = time.monotonic_ns(), time.process_time_ns()

    def _bounds(self, served: Served, stage: str) -> Bounds:
        """Wide ones, but for those that the config sets."""
        assert served.management.tuning is not None
        wide = default_bounds(self._cores, served.pipeline.target_ns)
        limits: dict[str, Any] = {"queue_rows": (served.pipeline.rows_max, wide.queue_rows[1])}
        tuning = served.management.tuning
        limits |= tuning.limits.get(stage, {})
        return replace(wide, **limits, executors=tuning.executors.get(stage, ()))

    def _observe(self) -> Observation:
        now_ns, cpu_ns, after = time.monotonic_ns(), time.process_time_ns(), self._statistics()
        observation = observe(
            self._before,
            after,
            graph=self._graph,
            targets_ns={
                one.pipeline.name: one.pipeline.target_ns
                for one in self._served
                if one.management.tuning is not None
            },
            now_ns=now_ns,
            window_ns=now_ns - self._looked_ns,
            cores=self._cores,
            executors=list(self._knobs.executors.values()),
            inline=self._knobs.inline,
            cpu_ns=cpu_ns - self._cpu_ns,
            held=self._knobs.see_bytes(),
        )
        self._before, self._looked_ns, self._cpu_ns = after, now_ns, cpu_ns
        return observation

    def _statistics(self) -> EngineStatistics:
        parts = [one.engine.statistics() for one in self._served]
        return EngineStatistics(
            tuple(pipeline for part in parts for pipeline in part.pipelines),
            tuple(stage for part in parts for stage in part.stages),
        )


def _give_way() -> None:
    time.sleep(GIVE_WAY_S)


def _check_end(task: asyncio.Task[None]) -> None:
    """Knobs stay where they are; serving goes on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("tuning has failed, and ends", exc_info=error)


def _log_moves(moves: Sequence[Move]) -> None:
    for move in moves[:LINES_MAX]:
        where = f"pipeline {move.pipeline!r}, stage {move.stage!r}" if move.pipeline else "store"
        log.info("%s: %s %s → %s: %s", where, move.knob, move.before, move.after, move.reason)
    if moves[LINES_MAX:]:
        log.info("%d more moves; GET /admin/moves has all", len(moves) - LINES_MAX)
