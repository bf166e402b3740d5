"""A daemon from its start to its end, as whoever started it sees it: signals in, exit codes out.

The same for a daemon of one process and for a supervisor with its workers:

    SIGTERM, SIGINT   answer what is in flight, then end; a second one ends at once
    SIGHUP            read the config again
    SIGUSR2           replace the workers, one after the other

What takes long to import is imported once signals are heard, and workers are on their way.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import uvloop

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.decoding import decode
from sedp.config.document import Faults, read_content, read_document
from sedp.config.settings import FileSettings
from sedp.cores import hand_on_sooner
from sedp.daemon.notify import Notifier
from sedp.errors import SedpError
from sedp.supervisor.launch import Inheritance
from sedp.supervisor.processes import count_workers

if TYPE_CHECKING:
    from sedp.config.loading import Config
    from sedp.daemon.daemon import Daemon
    from sedp.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)


class Service(Protocol):
    """What is run here."""

    @property
    def config(self) -> Config: ...

    @property
    def data_address(self) -> str: ...

    @property
    def admin_address(self) -> str: ...

    async def reload(self) -> list[str]: ...

    async def restart(self) -> None: ...

    async def stop(self) -> int: ...

    def kill(self) -> None: ...


Start = Callable[[], Awaitable[Service]]
Announce = Callable[[Service, int], None]


def serve(
    path: Path,
    *,
    workers: int | None = None,
    stimulus_log: Path | None = None,
    announce: Announce = lambda service, workers: None,
) -> None:
    """Serve the config at `path` until a signal.

    Args:
        workers: processes that serve; `None` as `daemon.workers` says.
        stimulus_log: file to record the scheduler's stimuli into; of one process only.
        announce: called once requests are served, with the number of workers.

    Raises:
        SedpError: it could not start, or not end as it should.
    """
    content = read_content(path)
    settings = _read_settings(path, content)
    count = count_workers(workers or settings.workers, is_recorded=stimulus_log is not None)
    if count > 1:

        async def start() -> Service:
            inheritance = Inheritance.open(settings, count)
            first = inheritance.launch_first(count)  # they import while this process does
            supervisor = await asyncio.to_thread(_import_supervisor)
            return await supervisor.start(path, content, inheritance, first)
    else:
        hand_on_sooner()

        async def start() -> Service:
            daemon = await asyncio.to_thread(_import_daemon)
            config = await asyncio.to_thread(_load, path, content)
            return await daemon.start(config, stimulus_log=stimulus_log)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Life(start, lambda service: announce(service, count)).run())


def _import_supervisor() -> type[Supervisor]:
    from sedp.supervisor.supervisor import Supervisor

    return Supervisor


def _import_daemon() -> type[Daemon]:
    from sedp.daemon.daemon import Daemon

    return Daemon


def _load(path: Path, content: bytes) -> Config:
    from sedp.config.loading import load

    return load(path, os.environ, content)


def _read_settings(path: Path, content: bytes) -> DaemonSettings:
    """How many processes are to be started, before it is known whether they can serve."""
    document = read_document(path, os.environ, content)
    faults = Faults(document)
    settings = decode(document.tree, FileSettings, (), faults)
    faults.raise_found()
    assert settings is not None
    return settings.daemon


class _Life:
    """One service and what happens to it."""

    def __init__(self, start: Start, announce: Callable[[Service], None]) -> None:
        self._start = start
        self._announce = announce
        self._service: Service | None = None
        self._stopping = asyncio.Event()
        self._notifier = Notifier(os.environ)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        for number, change in (
            (signal.SIGHUP, self._reload),
            (signal.SIGUSR2, self._restart),
        ):
            loop.add_signal_handler(number, self._begin, change)
        gc.disable()  # it finds nothing to collect among what is imported
        service = await self._start()
        gc.enable()
        gc.freeze()  # what is loaded stays; full collections need not walk it again and again
        self._service = service
        self._announce(service)
        self._say_ready(service)
        beating = loop.create_task(self._notifier.beat())
        await self._stopping.wait()
        self._notifier.stopping()
        cut = await service.stop()
        beating.cancel()
        if cut:
            # Threads of stages that do not end would hold up an ordinary exit for ever.
            seconds = service.config.daemon.drain_ns / 1e9
            log.error("%d events were cut off after %g s; raise daemon.drain", cut, seconds)
            os._exit(1)

    def _end(self, number: int) -> None:
        if self._service is not None and not self._stopping.is_set():
            self._stopping.set()
            return
        if self._service is not None:
            self._service.kill()
        os._exit(128 + number)  # nothing is in flight yet, or nobody wants to wait for it

    def _begin(self, change: Callable[[Service], Awaitable[None]]) -> None:
        """Start what a signal asked for; before all is served, and after, nothing can change."""
        if self._service is None or self._stopping.is_set():
            log.warning("too early or too late for a change")
            return
        task = asyncio.get_running_loop().create_task(self._try(change(self._service)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, change: Awaitable[None]) -> None:
        try:
            await change
        except SedpError as err:
            log.error("nothing has changed: %s", err)

    async def _reload(self, service: Service) -> None:
        self._notifier.reloading()
        try:
            for line in await service.reload() or ["nothing has changed"]:
                log.info("reload: %s", line)
        finally:
            self._say_ready(service)

    async def _restart(self, service: Service) -> None:
        self._notifier.status("replacing workers")
        try:
            await service.restart()
            log.info("all workers are replaced")
        finally:
            self._say_ready(service)

    def _say_ready(self, service: Service) -> None:
        self._notifier.ready(f"serving on {service.data_address}")
