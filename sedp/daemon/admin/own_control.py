"""Control of a daemon that serves in the process that was started."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sedp.config.loading import load
from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.daemon.repository import PipelineState
from sedp.daemon.server import Server
from sedp.daemon.tuning import TuningState
from sedp.errors import RequestError
from sedp.pipeline import Pipeline
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.updates import Durability, Receipt

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class OwnControl:
    """Answers as `Control` says, for this process alone.

    Args:
        statistics: of the whole process, its admin plane included.
    """

    def __init__(self, server: Server, statistics: Callable[[], DaemonStatistics]) -> None:
        self._server = server
        self._statistics = statistics
        self._started_s = time.time()

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        return self._server.repository.pipelines

    @property
    def ready(self) -> bool:
        return self._server.ready

    async def statistics(self) -> DaemonStatistics:
        return self._statistics()

    async def reload(self) -> list[str]:
        config = await asyncio.to_thread(load, self._server.config.path, os.environ)
        return await self._server.reload(config)

    async def restart(self) -> None:
        text = "this daemon serves in one process; restart that, or set daemon.workers to 2 or more"
        raise RequestError(text, 409)

    def workers(self) -> Sequence[WorkerState]:
        state = "ready" if self._server.ready else "leaving"
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        connections = self._server.statistics().listeners["data"].connections
        own = WorkerState(
            os.getpid(), state, self._started_s, 0, pages * PAGE_BYTES, connections=connections
        )
        return [own]

    async def index(self) -> Sequence[PipelineState]:
        return self._server.repository.index()

    async def load(self, name: str) -> None:
        await self._server.load(name)

    async def unload(self, name: str) -> None:
        await self._server.unload(name)

    async def tuning(self, moves_max: int) -> Sequence[TuningState]:
        return [self._server.tuning.state(moves_max)]

    async def freeze(self, frozen: bool) -> None:
        self._server.tuning.freeze(frozen)

    async def feed_back(self, pipeline: str, users: NDArray[Any]) -> int:
        return self._server.repository.find(pipeline).feed_back(users)

    def table(self, name: str) -> TableSpec:
        return self._server.store_writer.table(name)

    async def update(
        self, table: str, keys: NDArray[Any], rows: NDArray[Any], durability: Durability, id: str
    ) -> Receipt:
        return await self._server.store_writer.update(table, keys, rows, durability, id)

    async def roll_back(self, table: str, version: int | None) -> TableSpec:
        return await self._server.store_writer.roll_back(table, version)
