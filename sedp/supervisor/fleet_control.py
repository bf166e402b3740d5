"""Control of a daemon that serves in several processes: every question goes to all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from sedp.daemon.monitoring import merging
from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.daemon.repository import PipelineState, State
from sedp.daemon.store_writer import StoreWriter
from sedp.daemon.tuning import TuningState
from sedp.engine.statistics import EngineStatistics
from sedp.errors import RequestError
from sedp.pipeline import Pipeline
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.updates import Durability, Receipt
from sedp.supervisor import messages
from sedp.supervisor.fleet import Fleet
from sedp.supervisor.wanted import Wanted

NOTHING = DaemonStatistics(False, 0, EngineStatistics((), ()), None, {}, 0)


class FleetControl:
    """Answers as `Control` says, for all workers.

    Args:
        wanted: what they serve when this is made; `follow` is told what they serve from then on.
        writer: of the store; no worker writes.
        complete: adds this process to the statistics of the workers.
    """

    def __init__(
        self,
        fleet: Fleet,
        wanted: Wanted,
        writer: StoreWriter,
        *,
        follow: Callable[[Wanted], None],
        complete: Callable[[DaemonStatistics], DaemonStatistics],
    ) -> None:
        self.is_stopping = False
        self._fleet = fleet
        self._wanted = wanted
        self._writer = writer
        self._follow = follow
        self._complete = complete
        self._is_changing = False
        self._gathering: asyncio.Task[DaemonStatistics] | None = None
        self._started_ns = time.monotonic_ns()

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        return {pipeline.name: pipeline for pipeline in self._wanted.config.pipelines}

    @property
    def ready(self) -> bool:
        return bool(self._fleet.ready) and not self.is_stopping

    def workers(self) -> Sequence[WorkerState]:
        return self._fleet.describe()

    async def statistics(self) -> DaemonStatistics:
        """Those who ask at once share one answer."""
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().create_task(self._gather())
            self._gathering.add_done_callback(self._gathered)
        return await asyncio.shield(self._gathering)

    async def _gather(self) -> DaemonStatistics:
        parts = await self._fleet.statistics()
        gathered = replace(
            merging.known(merging.merge(parts or [NOTHING]), self.pipelines),
            ready=self.ready,
            uptime_ns=time.monotonic_ns() - self._started_ns,
            workers=self._fleet.describe(),
        )
        return self._complete(gathered)

    def _gathered(self, _task: asyncio.Task[DaemonStatistics]) -> None:
        self._gathering = None

    # Changes ----------------------------------------------------------------------------------

    async def reload(self) -> list[str]:
        with self._change():
            old = self._wanted
            read = await asyncio.to_thread(Wanted.read, old.config.path, old.workers)
            new = old.succeeded_by(read)
            return await self._fleet.change(new.content, lambda: self._adopt(new))

    async def restart(self) -> None:
        with self._change():
            await self._fleet.restart()

    async def index(self) -> list[PipelineState]:
        """Each pipeline as that worker has it which is furthest from ready."""
        states: dict[str, PipelineState] = {}
        for answer in await self._fleet.ask(messages.Index(), list[PipelineState]):
            for state in answer:
                if states.setdefault(state.name, state).state is State.READY:
                    states[state.name] = state
        return list(states.values())

    async def load(self, name: str) -> None:
        with self._change():
            new = self._wanted.with_loaded(name)
            await self._fleet.tell(messages.Load(name), lambda: self._adopt(new))

    async def unload(self, name: str) -> None:
        with self._change():
            new = self._wanted.with_unloaded(name)
            await self._fleet.tell(messages.Unload(name), lambda: self._adopt(new))

    async def freeze(self, frozen: bool) -> None:
        with self._change():
            new = self._wanted.with_frozen(frozen)
            await self._fleet.tell(messages.Freeze(frozen), lambda: self._adopt(new))

    async def tuning(self, moves_max: int) -> Sequence[TuningState]:
        states: list[TuningState] = await self._fleet.ask(messages.Tuning(moves_max), TuningState)
        return states

    async def feed_back(self, pipeline: str, users: NDArray[Any]) -> int:
        told: list[int] = await self._fleet.ask(messages.FeedBack(pipeline, users.tobytes()), int)
        return sum(told)

    def _adopt(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._follow(wanted)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One at a time; who comes second is told so instead of waiting unseen."""
        if self._is_changing or self.is_stopping:
            text = "another change is under way; try again when it is done"
            if self.is_stopping:
                text = "the daemon is stopping; nothing can change any more"
            raise RequestError(text, 409, {"Retry-After": "1"})
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False

    # The store --------------------------------------------------------------------------------

    def table(self, name: str) -> TableSpec:
        return self._writer.table(name)

    async def update(
        self, table: str, keys: NDArray[Any], rows: NDArray[Any], durability: Durability, id: str
    ) -> Receipt:
        return await self._writer.update(table, keys, rows, durability, id)

    async def roll_back(self, table: str, version: int | None) -> TableSpec:
        return await self._writer.roll_back(table, version)
