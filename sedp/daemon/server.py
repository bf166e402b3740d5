"""The composition root of the daemon: everything is opened here, in order, and closed in reverse.

Addresses are taken first (a wrong one must not cost the load of a model), then the store, the
stages, the engine; only when all that stands are the sockets listened on. Stopping runs backwards:
not ready, newcomers refused, events in flight answered, sockets closed, then stages and store.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

from sedp.config.loading import Config
from sedp.cores import usable_cores
from sedp.daemon.admin import AdminPlane
from sedp.daemon.dispatch import Dispatcher
from sedp.daemon.doors import Doors
from sedp.daemon.failures import FailureLog
from sedp.daemon.http import DataPlane
from sedp.daemon.listener import Listener, bind
from sedp.daemon.parameter_store import open_store
from sedp.daemon.repository import PipelineState, Repository
from sedp.daemon.statistics import DaemonStatistics
from sedp.engine.graph import Graph
from sedp.engine.stimulus_log import StimulusLog
from sedp.errors import ConfigError, SedpError, StageError
from sedp.live import Engine
from sedp.pipeline import BoundStage
from sedp.stage import Resources, Store
from sedp.storage.access_recording import RecordedStore
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates import Durability, Receipt

CLOSE_S = 1.0  # for the last responses to go out, once their events have ended
CUT_S = 0.01  # when waiting is over; aiohttp would take 0 for ever

log = logging.getLogger(__name__)


class Server:
    """Skeleton, being filled in: the serving part of one process, without an admin plane."""

    ready: bool
    data_address: str
    grpc_address: str | None
    config: Config
    repository: Repository

    @classmethod
    async def start(
        cls,
        config: Config,
        doors: Doors,
        *,
        stimulus_log: Path | None = None,
        share: object = None,  # ConnectionShare | None
        gathered: Callable[[], Awaitable[DaemonStatistics]] | None = None,
    ) -> Server:
        """Open everything and serve; closes the doors when it fails, or stops."""
        raise NotImplementedError

    def statistics(self) -> DaemonStatistics:
        """Of this process; listeners: "data" only."""
        raise NotImplementedError

    async def prepare(self, config: Config) -> Change:
        """Phase one of a reload: open and warm everything new beside the old."""
        raise NotImplementedError

    async def reload(self, config: Config) -> list[str]:
        """Both phases; the diff as lines."""
        raise NotImplementedError

    async def load(self, name: str) -> None:
        raise NotImplementedError

    async def unload(self, name: str) -> None:
        raise NotImplementedError

    def index(self) -> list[PipelineState]:
        raise NotImplementedError

    async def update(
        self, table: str, keys: Any, rows: Any, durability: Durability, id: str
    ) -> Receipt:
        raise NotImplementedError

    async def roll_back(self, table: str, version: int | None) -> TableSpec:
        raise NotImplementedError

    async def retire(self) -> None:
        raise NotImplementedError

    async def stop(self) -> int:
        raise NotImplementedError


class Change:
    """Skeleton: a reload between its phases. Exactly one of the two must be called."""

    lines: list[str]

    def commit(self) -> None:
        """Phase two: serve by the new config from now on; never fails."""
        raise NotImplementedError

    async def discard(self) -> None:
        """Close what was opened; the old config is still served."""
        raise NotImplementedError


class Daemon:
    """A serving process; make it with `Daemon.start` on a running loop.

    Args:
        config: checked; its pipelines must not be used by another daemon.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._opened = AsyncExitStack()
        self._log = FailureLog(log)
        self._store: ParameterStore | None = None
        self._started_ns = 0

    @classmethod
    async def start(cls, config: Config, stimulus_log: Path | None = None) -> Daemon:
        """Open everything and serve.

        Args:
            stimulus_log: file to record the scheduler's stimuli into.

        Raises:
            SedpError: something the config names is not there, in use, or broken. Whatever was
                opened before is closed again.
        """
        daemon = cls(config)
        async with AsyncExitStack() as opened:
            await daemon._open(opened, stimulus_log)
            daemon._opened = opened.pop_all()
        return daemon

    @property
    def data_address(self) -> str:
        """`host:port` of the data plane."""
        return self._data.address

    @property
    def admin_address(self) -> str:
        """`host:port` of the admin plane."""
        return self._admin.address

    def statistics(self) -> DaemonStatistics:
        return DaemonStatistics(
            self._plane.ready,
            time.monotonic_ns() - self._started_ns,
            self._engine.statistics(),
            self._store.statistics() if self._store else None,
            {"data": self._data.statistics(), "admin": self._admin.statistics()},
            self._log.lines_left_out,
        )

    async def stop(self) -> int:
        """Refuse newcomers, answer what is in flight within `daemon.drain`, close everything.

        Returns:
            Events that were cut off because the time was up. When it is not 0, stages and store
            are left open: a stage that still runs may be reading them.
        """
        self._plane.ready = False
        self._data.dispatcher.closing = self._admin.dispatcher.closing = True
        self._engine.begin_drain()
        try:
            async with asyncio.timeout(self.config.daemon.drain_ns / 1e9):
                await self._engine.drained()
                await self._data.dispatcher.idle()
        except TimeoutError:
            log.warning("drain: time is up")
        cut = sum(pipeline.in_flight for pipeline in self._engine.statistics().pipelines)
        close_s = CUT_S if cut else CLOSE_S
        await asyncio.gather(self._data.close(close_s), self._admin.close(close_s))
        if not cut:
            await self._opened.aclose()
        return cut

    async def _open(self, opened: AsyncExitStack, stimulus_log: Path | None) -> None:
        settings = self.config.daemon
        listen, admin = settings.listen, settings.admin
        data_socket = opened.enter_context(bind(listen.host, listen.port, "daemon.listen"))
        admin_socket = opened.enter_context(bind(admin.host, admin.port, "daemon.admin"))
        # In a thread: signals must be heard while a model loads.
        await asyncio.to_thread(self._open_stages, opened)
        self._engine = _engine(self.config, stimulus_log)
        opened.callback(self._engine.close)
        self._started_ns = time.monotonic_ns()
        self._plane = DataPlane(self._engine, settings)
        admin_plane = AdminPlane(self._engine.pipelines, self.statistics)
        make = functools.partial(
            Listener,
            log=self._log,
            connections_max=settings.connections_max,
            keepalive_timeout_s=settings.keepalive_timeout_ns / 1e9,
            stall_timeout_s=settings.body_timeout_ns / 1e9,
        )
        self._data = make(
            data_socket, Dispatcher(self._plane.routes(), self._plane.missing, self._log)
        )
        self._admin = make(
            admin_socket, Dispatcher(admin_plane.routes(), admin_plane.missing, self._log)
        )
        await self._data.listen()
        await self._admin.listen()
        self._plane.ready = True

    def _open_stages(self, opened: AsyncExitStack) -> None:
        served = self._open_store(opened)
        threads = self.config.daemon.threads
        cores = usable_cores() if threads == "auto" else threads
        for pipeline in self.config.pipelines:
            for stage in pipeline.stages:
                share = max(1, cores // stage.use.plan.concurrency)  # of each of its runs
                resources = Resources(self.config.path.parent, share, served)
                _open_stage(pipeline.name, stage, resources)
                opened.callback(stage.use.stage.close)

    def _open_store(self, opened: AsyncExitStack) -> Store | None:
        """What stages look up in: the store itself, or one that records on the way."""
        settings = self.config.store
        if settings is None:
            return None
        store = self._store = open_store(settings)
        opened.callback(store.close)
        if not settings.access_log:
            return store
        recorded = RecordedStore(store, Path(settings.path))
        opened.callback(recorded.close)
        return recorded


def serve(
    config: Config,
    *,
    stimulus_log: Path | None = None,
    announce: Callable[[Daemon], None] = lambda daemon: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal ends the process at once.

    Args:
        stimulus_log: file to record the scheduler's stimuli into.
        announce: called once requests are served.

    Raises:
        SedpError: it could not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cut = runner.run(_serve(config, stimulus_log, announce))
    if cut:
        # Threads of stages that do not end would hold up an ordinary exit for ever.
        seconds = config.daemon.drain_ns / 1e9
        log.error("%d events were cut off after %g s; raise daemon.drain", cut, seconds)
        os._exit(1)


async def _serve(
    config: Config, stimulus_log: Path | None, announce: Callable[[Daemon], None]
) -> int:
    stopping = asyncio.Event()
    is_up = False

    def on_signal(number: int) -> None:
        if not is_up or stopping.is_set():
            os._exit(128 + number)  # nothing is in flight yet, or nobody wants to wait for it
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    daemon = await Daemon.start(config, stimulus_log)
    gc.freeze()  # what is loaded stays; full collections need not walk it again and again
    is_up = True
    announce(daemon)
    await stopping.wait()
    return await daemon.stop()


def _engine(config: Config, path: Path | None) -> Engine:
    def record(graph: Graph) -> StimulusLog:
        assert path is not None
        return StimulusLog(path, graph)

    try:
        return Engine(config.pipelines, stimulus_log=record if path else None)
    except OSError as err:
        raise ConfigError(f"stimulus log {path}: {err.strerror}; name a file to write") from err


def _open_stage(pipeline: str, bound: BoundStage, resources: Resources) -> None:
    where = f"pipeline {pipeline!r}, stage {bound.name!r}"
    try:
        bound.use.stage.open(resources)
    except SedpError as err:
        raise ConfigError(f"{where}: {err}") from err
    except Exception as err:
        log.exception("%s failed to open", where)
        raise StageError(f"{where} failed to open: {err!r}") from err
