"""The process that was started, when others serve for it: it holds the sockets, the admin plane
and the right to write the store, and keeps its workers alive.

It takes no part in serving. Should it end, its workers answer what they have and end, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from sedp.config.loading import Config
from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.guard import Guard
from sedp.daemon.admin.plane import AdminPlane
from sedp.daemon.doors import spell
from sedp.daemon.failures import FailureLog
from sedp.daemon.http.dispatch import Dispatcher
from sedp.daemon.http.limits import ConnectionLimits
from sedp.daemon.http.listener import Listener
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.store_writer import StoreWriter
from sedp.supervisor import messages
from sedp.supervisor.fleet import Fleet
from sedp.supervisor.fleet_control import FleetControl
from sedp.supervisor.launch import Inheritance, Launched
from sedp.supervisor.processes import change_threads
from sedp.supervisor.store_keeper import StoreKeeper
from sedp.supervisor.wanted import Wanted

CLOSE_S = 1.0  # for the last answers of the admin plane
MARGIN_S = 5.0  # beyond the drain, for a worker to close what it has open

log = logging.getLogger(__name__)


class Supervisor:
    """A daemon of several processes; make it with `Supervisor.start` on a running loop.

    Args:
        inheritance: of its workers; closed by the caller, after the supervisor.
    """

    def __init__(self, inheritance: Inheritance) -> None:
        self._doors = inheritance.doors
        self._ram = inheritance.ram
        self._log = FailureLog(log)
        self._guard = Guard(log=self._log)
        self._opened = AsyncExitStack()
        self._fleet = Fleet(inheritance, self._begin, self.statistics)
        self._wanted: Wanted
        self._control: FleetControl
        self._plane: AdminPlane
        self._admin: Listener

    @classmethod
    async def start(
        cls, path: Path, content: bytes, inheritance: Inheritance, first: Sequence[Launched]
    ) -> Supervisor:
        """Let the workers serve; returns when all of them do.

        Args:
            content: of the config file at `path`.
            inheritance: of all workers; closed with the supervisor.
            first: workers that were started with it.

        Raises:
            SedpError: what is wrong with the config, or why a worker cannot serve. All workers
                have ended then.
        """
        async with AsyncExitStack() as opened:
            opened.callback(inheritance.close)
            supervisor = cls(inheritance)
            await supervisor._fleet.adopt(first)
            opened.push_async_callback(supervisor._fleet.kill)
            wanted = await asyncio.to_thread(Wanted.read, path, len(first), content)
            await supervisor._open(opened, wanted)
            supervisor._opened = opened.pop_all()
        return supervisor

    @property
    def config(self) -> Config:
        """As it is served now."""
        return self._wanted.config

    @property
    def data_address(self) -> str:
        """`host:port` of the data plane."""
        return spell(self._doors.data)

    @property
    def admin_address(self) -> str:
        """`host:port` of the admin plane."""
        return self._admin.address

    async def statistics(self) -> DaemonStatistics:
        """Of all workers and the admin plane."""
        return await self._control.statistics()

    async def reload(self) -> list[str]:
        """Read the config file again, and let all workers serve by it, or none.

        Returns:
            What changed, a line each.

        Raises:
            SedpError: why the old config is still served.
        """
        return await self._plane.changes.reload_unasked()

    async def restart(self) -> None:
        """Replace all workers, one after the other, without a request lost.

        Raises:
            SedpError: why one could not be replaced; it, and those after it, still serve.
        """
        await self._control.restart()

    async def stop(self) -> int:
        """Let all workers drain and end, then close everything.

        Returns:
            Events that were cut off because the time was up.
        """
        self._control.is_stopping = True
        self._admin.dispatcher.closing = True
        try:
            return await self._fleet.stop()
        finally:
            await self._admin.close(CLOSE_S)
            await self._opened.aclose()

    def kill(self) -> None:
        """End all workers at once; nothing is waited for."""
        self._fleet.kill_now()

    # Opening ----------------------------------------------------------------------------------

    async def _open(self, opened: AsyncExitStack, wanted: Wanted) -> None:
        config, settings = wanted.config, wanted.config.daemon
        self._follow(wanted)
        keeper = StoreKeeper(config.store, self._ram, wanted.workers)
        opened.callback(keeper.close)
        await asyncio.to_thread(keeper.prepare)
        writer = StoreWriter(keeper.store, keeper.may_write)
        await self._fleet.start()
        await asyncio.to_thread(keeper.fill_ram)
        audit = AuditLog(config.path.parent / settings.audit_log if settings.audit_log else None)
        self._control = FleetControl(
            self._fleet, wanted, writer, follow=self._adopt, complete=self._complete
        )
        self._plane = AdminPlane(self._control, audit, settings)
        opened.callback(self._plane.close)
        dispatcher = Dispatcher(self._plane.routes(), self._plane.missing, self._log, self._guard)
        assert self._doors.admin is not None
        self._admin = Listener(
            self._doors.admin,
            dispatcher,
            self._log,
            limits=ConnectionLimits.of(settings),
            in_flight=InFlightBytes(settings.in_flight_bytes_max),
            ssl=wanted.security.tls,
        )
        await self._admin.listen()

    def _complete(self, workers: DaemonStatistics) -> DaemonStatistics:
        """The statistics of the workers, and what is this process's own."""
        listeners = {**workers.listeners, "admin": self._admin.statistics()}
        left_out = workers.log_lines_left_out + self._log.lines_left_out
        return replace(workers, listeners=listeners, log_lines_left_out=left_out)

    def _begin(self) -> messages.Begin:
        return self._wanted.begin()

    def _adopt(self, wanted: Wanted) -> None:
        """The workers serve this from now on; so does the admin plane."""
        before = self.config
        self._follow(wanted)
        if wanted.config.runs != before.runs:
            change_threads(wanted.config.runs, wanted.config.daemon.threads, wanted.workers)
        self._admin.limits = ConnectionLimits.of(wanted.config.daemon)
        self._admin.in_flight.bytes_max = wanted.config.daemon.in_flight_bytes_max
        self._admin.encrypt(wanted.security.tls)

    def _follow(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._guard.replace(wanted.security.rules)
        daemon = wanted.config.daemon
        delay_s, drain_s = daemon.drain_delay_ns / 1e9, daemon.drain_ns / 1e9
        self._fleet.leave_s = delay_s + 2 * drain_s + MARGIN_S  # connections first, then events
