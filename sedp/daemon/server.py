"""The serving part of one process: store, pipelines, data plane; no admin plane.

Everything is opened here, in order, and closed in reverse. The addresses are taken already; only
when the store and all pipelines stand are they listened on. Stopping runs backwards: not ready,
newcomers told to leave, events in flight answered, sockets closed, then stages and store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sedp.config.loading import Config
from sedp.daemon.access.guard import Guard
from sedp.daemon.access.security import Security
from sedp.daemon.doors import Doors
from sedp.daemon.failures import FailureLog
from sedp.daemon.front import Front
from sedp.daemon.http.data_plane import Gather
from sedp.daemon.loop_watch import LoopWatch
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.parameter_store import ServedStore, open_served
from sedp.daemon.reload import compare
from sedp.daemon.repository import Replacement, Repository
from sedp.daemon.served import EngineStarter, PipelineOpener
from sedp.daemon.store_writer import StoreWriter
from sedp.daemon.tuning import LiveTuning
from sedp.daemon.warm_up import StageOpener
from sedp.errors import RequestError
from sedp.stage import Store
from sedp.storage.ram.shared_ram import SharedRam

if TYPE_CHECKING:
    from sedp.daemon.access.shared_use import SharedUse
    from sedp.daemon.http.acceptor import ConnectionShare

CLOSE_S = 1.0  # for the last responses to go out, once their events have ended
CUT_S = 0.01  # when waiting is over; aiohttp would take 0 for ever

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A reload between its two phases. Exactly one of `commit` and `discard` must be called.

    Args:
        lines: what changes, for people.
        commit: serve by the new config from this moment on; what it replaced is closed in time.
        discard: close what was opened; the old config is still served.
    """

    lines: list[str]
    commit: Callable[[], None]
    discard: Callable[[], Awaitable[None]]


class Server:
    """Make it with `Server.start` on a running loop.

    Args:
        config: checked; its pipelines must not be used by another server.
        doors: taken; closed by whoever took them, after the server.
    """

    def __init__(self, config: Config, doors: Doors, shared: SharedUse | None = None) -> None:
        self.config = config
        self.log = FailureLog(log)
        security = Security.read(config)
        self.guard = Guard(security.rules, log=self.log, shared=shared)
        self.front = Front(config.daemon, security, self.guard, self.log)
        self._doors = doors
        self._opened = AsyncExitStack()
        self._store = ServedStore()
        self._loop_watch = LoopWatch()
        self._is_reloading = False
        self._started_ns = 0

    @classmethod
    async def start(
        cls,
        config: Config,
        doors: Doors,
        *,
        stimulus_log: Path | None = None,
        share: ConnectionShare | None = None,
        shared: SharedUse | None = None,
        gathered: Gather | None = None,
        checks_store: bool = False,
        shared_ram: SharedRam | None = None,
    ) -> Server:
        """Open everything and serve.

        Args:
            stimulus_log: file to record the scheduler's stimuli into; with several pipelines one
                each, their names before the suffix.
            share: of the connections that several workers accept.
            shared: what tenants use of all workers.
            gathered: statistics of all workers; without it this one's.
            checks_store: have a child look at the store's files first.
            shared_ram: with rows that another process keeps.

        Raises:
            SedpError: something the config names is not there, in use, or broken. Whatever was
                opened before is closed again.
        """
        server = cls(config, doors, shared)
        async with AsyncExitStack() as opened:
            store = await server._open_store(opened, checks_store, shared_ram)
            await server._open(opened, store, stimulus_log, share, gathered)
            server._opened = opened.pop_all()
        return server

    @property
    def ready(self) -> bool:
        """Whether requests are welcome."""
        return self.front.ready

    @property
    def data_address(self) -> str:
        """Of the data plane, with the real port when 0 was asked for."""
        return self.front.data_address

    @property
    def grpc_address(self) -> str | None:
        """Of gRPC; `None` when it is off."""
        return self.front.grpc_address

    def statistics(self) -> DaemonStatistics:
        """Of this process."""
        return DaemonStatistics(
            self.ready,
            time.monotonic_ns() - self._started_ns,
            self.repository.statistics(),
            self._store.store.statistics() if self._store.store else None,
            self.front.statistics(),
            self.log.lines_left_out,
            self.guard.statistics(),
            load=self.tuning.statistics(),
            loop=self._loop_watch.statistics(),
            threads=self._opener.stages.counts(),
        )

    # Changing what is served ------------------------------------------------------------------

    async def load(self, name: str) -> None:
        """See `Repository.load`."""
        await self.repository.load(name)

    async def unload(self, name: str) -> None:
        """See `Repository.unload`."""
        await self.repository.unload(name)

    async def prepare(self, config: Config) -> Change:
        """Open and warm everything that is new in `config`, beside what is served.

        Returns:
            What must be committed or discarded before the next one can be prepared.

        Raises:
            RequestError: 409, another change is under way.
            SedpError: why the old config is still served, and nothing of the new one is open.
        """
        if self._is_reloading:
            raise RequestError("another reload is under way; try again later", 409)
        self._is_reloading = True
        try:
            found = compare(self.config, config)
            security = self.front.read_security(config)
            wanted = {pipeline.name: pipeline for pipeline in config.pipelines}
            self._opener.follow(config)
            replacement = await self.repository.prepare(wanted, found.pipelines, found.live)
        except BaseException:
            self._opener.follow(self.config)
            self._is_reloading = False
            raise
        adopt = partial(self._adopt, config, security, replacement)
        return Change(list(found.lines), adopt, partial(self._abandon, replacement))

    async def reload(self, config: Config) -> list[str]:
        """Serve by another config; returns once what it replaced is closed.

        Returns:
            What changed, a line each.

        Raises:
            SedpError: as `prepare`.
        """
        change = await self.prepare(config)
        change.commit()
        await self.repository.settled()
        return change.lines

    # Ending -----------------------------------------------------------------------------------

    async def retire(self) -> None:
        """Leave the listening socket to others; serve on until the last connection has left.

        Every response asks its client to leave. Those that have not within `daemon.drain` are
        idle, and are closed by `stop`.
        """
        await self.front.retire(self.config.daemon.drain_ns / 1e9)

    async def stop(self) -> int:
        """Stop being ready, serve on for `drain_delay`, then end within `drain`.

        Liveness is answered to the end; newcomers in the second part get a 503.

        Returns:
            Events that were cut off because the time was up. When it is not 0, stages and store
            are left open: a stage that still runs may be reading them.
        """
        self.front.ready = False
        self.front.ask_to_leave()
        await self.tuning.end()
        await asyncio.sleep(self.config.daemon.drain_delay_ns / 1e9)
        self.repository.begin_drain()
        drain_s = self.config.daemon.drain_ns / 1e9
        closing_grpc = asyncio.ensure_future(self.front.close_grpc(drain_s))
        try:
            async with asyncio.timeout(drain_s):
                await self.repository.drained()
                await self.front.idle()
        except TimeoutError:
            log.warning("drain: time is up")
        cut = self.repository.in_flight
        await self.front.close(CUT_S if cut else CLOSE_S)
        await closing_grpc
        self._loop_watch.end()
        if not cut:
            await self._opened.aclose()
        return cut

    # Opening ----------------------------------------------------------------------------------

    async def _open(
        self,
        opened: AsyncExitStack,
        store: Store | None,
        stimulus_log: Path | None,
        share: ConnectionShare | None,
        gathered: Gather | None,
    ) -> None:
        settings = self.config.daemon
        stages = StageOpener.of(self.config, store)
        engines = EngineStarter(stimulus_log, len(self.config.pipelines))
        self._opener = PipelineOpener(
            stages, engines.start, settings.tensors_max, self.config.management
        )
        self.repository = Repository(self._opener, settings.drain_ns / 1e9)
        await self.repository.open(self.config.pipelines)
        opened.push_async_callback(self.repository.close)
        caches, in_flight = self._store.caches, self.front.in_flight
        self.tuning = LiveTuning(self.repository, stages.cores, in_flight, caches)
        self.tuning.begin()
        opened.push_async_callback(self.tuning.end)
        self._loop_watch.begin()
        opened.callback(self._loop_watch.end)
        self._started_ns = time.monotonic_ns()
        await self.front.open(
            self.repository,
            self._doors,
            self.config.path.parent,
            gathered or self._gather,
            share,
        )

    async def _open_store(
        self, opened: AsyncExitStack, checks: bool, shared_ram: SharedRam | None
    ) -> Store | None:
        # In a thread, as the stages: signals must be heard while files are read.
        served = await asyncio.to_thread(open_served, self.config.store, checks, shared_ram)
        opened.callback(served.close)
        self._store = served
        self.store_writer = StoreWriter(served.store, served.may_write)
        return served.seen

    async def _gather(self) -> DaemonStatistics:
        return self.statistics()

    # Both ends of a reload --------------------------------------------------------------------

    def _adopt(self, config: Config, security: Security, replacement: Replacement) -> None:
        self.config = config
        self.front.adopt(config.daemon, security)
        self.repository.drain_s = config.daemon.drain_ns / 1e9
        self.repository.commit(replacement)
        self._is_reloading = False

    async def _abandon(self, replacement: Replacement) -> None:
        self._opener.follow(self.config)
        await self.repository.discard(replacement)
        self._is_reloading = False
