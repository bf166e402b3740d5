"""Serving in one process: the server, and beside it the admin plane."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

from sedp.config.loading import Config
from sedp.daemon.access.audit import AuditLog
from sedp.daemon.admin.own_control import OwnControl
from sedp.daemon.admin.plane import AdminPlane
from sedp.daemon.doors import Doors
from sedp.daemon.http.dispatch import Dispatcher
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.server import CLOSE_S, CUT_S, Server


class Daemon:
    """A serving process; make it with `Daemon.start` on a running loop.

    Args:
        server: started; stopped with the daemon.
        doors: taken; closed with the daemon, as `audit` is.
    """

    def __init__(self, server: Server, doors: Doors, audit: AuditLog) -> None:
        assert doors.admin is not None
        self.server = server
        self._control = OwnControl(server, self.statistics)
        self._plane = AdminPlane(self._control, audit, server.config.daemon)
        dispatcher = Dispatcher(self._plane.routes(), self._plane.missing, server.log, server.guard)
        self._admin = server.front.make_listener(doors.admin, dispatcher)
        self._opened = AsyncExitStack()

    @classmethod
    async def start(cls, config: Config, stimulus_log: Path | None = None) -> Daemon:
        """Take the addresses, open everything and serve.

        Args:
            stimulus_log: see `Server.start`.

        Raises:
            SedpError: something the config names is not there, in use, or broken. Whatever was
                opened before is closed again.
        """
        async with AsyncExitStack() as opened:
            doors = opened.enter_context(closing(Doors.open(config.daemon)))
            audit_path = config.daemon.audit_log and config.path.parent / config.daemon.audit_log
            audit = opened.enter_context(closing(AuditLog(audit_path or None)))
            server = await Server.start(config, doors, stimulus_log=stimulus_log, checks_store=True)
            async with AsyncExitStack() as unfinished:
                unfinished.push_async_callback(server.stop)
                daemon = cls(server, doors, audit)
                await daemon._admin.listen()
                unfinished.pop_all()
            daemon._opened = opened.pop_all()
        return daemon

    @property
    def config(self) -> Config:
        """As it is served now."""
        return self.server.config

    @property
    def data_address(self) -> str:
        """`host:port` of the data plane."""
        return self.server.data_address

    @property
    def admin_address(self) -> str:
        """`host:port` of the admin plane."""
        return self._admin.address

    def statistics(self) -> DaemonStatistics:
        """Of server and admin plane."""
        statistics = self.server.statistics()
        listeners = {**statistics.listeners, "admin": self._admin.statistics()}
        return replace(statistics, listeners=listeners)

    async def reload(self) -> list[str]:
        """Read the config file again and serve by it.

        Returns:
            What changed, a line each.

        Raises:
            SedpError: why the old config is still served.
        """
        return await self._plane.changes.reload_unasked()

    async def restart(self) -> None:
        """Raises RequestError: there are no workers to replace."""
        await self._control.restart()

    def kill(self) -> None:
        """Before an end at once: there is nobody else to be told."""

    async def stop(self) -> int:
        """Stop the server (see `Server.stop`), then the admin plane.

        Returns:
            Events that were cut off because the time was up.
        """
        self._admin.dispatcher.closing = True
        cut = await self.server.stop()
        await self._admin.close(CUT_S if cut else CLOSE_S)
        await self._opened.aclose()
        return cut
