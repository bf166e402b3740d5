"""What callers of the pipelines connect to: the data plane over HTTP, and gRPC where it is on.

Both show the same pipelines, become ready and leave together, and follow a reload.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.loading import Config
from sedp.daemon.access.guard import Guard
from sedp.daemon.access.security import Security
from sedp.daemon.doors import Doors, spell
from sedp.daemon.failures import FailureLog
from sedp.daemon.grpc.extra import load_grpc_plane
from sedp.daemon.http.data_plane import DataPlane, Gather
from sedp.daemon.http.dispatch import Dispatcher
from sedp.daemon.http.limits import ConnectionLimits
from sedp.daemon.http.listener import Listener
from sedp.daemon.http.turn_clock import TurnClock
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.daemon.monitoring.statistics import ListenerStatistics
from sedp.daemon.repository import Repository

if TYPE_CHECKING:
    from sedp.daemon.grpc.plane import GrpcPlane
    from sedp.daemon.http.acceptor import ConnectionShare

LEAVE_S = 0.02  # between two looks at who is still connected


class Front:
    """Made before anything slow; `open` it once the pipelines stand.

    Args:
        guard: asked who calls; it goes by the rules of `security`.
        failures: what went wrong on our side is told to.
    """

    def __init__(
        self, settings: DaemonSettings, security: Security, guard: Guard, failures: FailureLog
    ) -> None:
        self._settings = settings
        self._security = security
        self._guard = guard
        self._failures = failures
        self.in_flight = InFlightBytes(settings.in_flight_bytes_max)
        self._turns = TurnClock()
        self._listeners: list[Listener] = []
        self._grpc: GrpcPlane | None = None

    async def open(
        self,
        repository: Repository,
        doors: Doors,
        folder: Path,
        gather: Gather,
        share: ConnectionShare | None,
    ) -> None:
        """Listen, and be ready.

        Args:
            folder: of the config file.
            gather: statistics of all workers.
            share: of the connections that several workers accept.

        Raises:
            ConfigError: gRPC is not installed, or its address is taken.
        """
        self._plane = DataPlane(
            repository, self._guard, self._settings, gather, self._turns, self.in_flight
        )
        dispatcher = Dispatcher(
            self._plane.routes(),
            self._plane.missing,
            self._failures,
            self._guard,
            self._turns.arrival_ns,
        )
        self._data = self.make_listener(doors.data, dispatcher, share)
        if self._settings.grpc is not None:
            self._grpc = load_grpc_plane()(
                repository,
                self._guard,
                self._settings,
                folder=folder,
                statistics=self._plane.statistics,
                failures=self._failures,
                in_flight=self.in_flight,
            )
            await self._grpc.start(spell(doors.grpc) if doors.grpc else str(self._settings.grpc))
        repository.on_change = self._follow
        await self._data.listen()
        self.ready = True

    @property
    def ready(self) -> bool:
        """Whether requests are welcome."""
        return self._plane.ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._plane.ready = ready
        if self._grpc is not None:
            self._grpc.ready = ready

    @property
    def data_address(self) -> str:
        """Of the data plane, with the real port when 0 was asked for."""
        return self._data.address

    @property
    def grpc_address(self) -> str | None:
        """The same for gRPC; `None` when it is off."""
        return self._grpc.address if self._grpc else None

    def statistics(self) -> dict[str, ListenerStatistics]:
        """By plane."""
        found = {"data": self._data.statistics()}
        if self._grpc is not None:
            found["grpc"] = self._grpc.statistics()
        return found

    def make_listener(
        self, door: socket.socket, dispatcher: Dispatcher, share: ConnectionShare | None = None
    ) -> Listener:
        """A listener within the limits of the config, which follows them when they are reloaded."""
        listener = Listener(
            door,
            dispatcher,
            self._failures,
            limits=ConnectionLimits.of(self._settings),
            in_flight=self.in_flight,
            ssl=self._security.tls,
            share=share,
        )
        self._listeners.append(listener)
        return listener

    def read_security(self, config: Config) -> Security:
        """What a reload will adopt; nothing has changed yet.

        Raises:
            ConfigError: a file is not there, or wrong.
        """
        security = Security.read(config)
        if self._grpc is None:
            return security
        certificates = self._grpc.prepare_certificates(config.daemon, config.path.parent)
        return replace(security, grpc_certificates=certificates)

    def adopt(self, settings: DaemonSettings, security: Security) -> None:
        """Go by these from now on; connections that are open keep their encryption."""
        self._settings, self._security = settings, security
        self._guard.replace(security.rules)
        self._plane.settings = settings
        self.in_flight.bytes_max = settings.in_flight_bytes_max
        for listener in self._listeners:
            listener.limits = ConnectionLimits.of(settings)
            listener.encrypt(security.tls)
        if self._grpc is not None:
            self._grpc.use_certificates(security.grpc_certificates)

    def ask_to_leave(self) -> None:
        """With every response from now on."""
        self._data.dispatcher.closing = True

    async def retire(self, timeout_s: float) -> None:
        """Leave newcomers to other processes; wait until the last connection has left."""
        self.ask_to_leave()
        self._data.stop_accepting()
        deadline_s = time.monotonic() + timeout_s
        leaving_grpc = asyncio.ensure_future(self.close_grpc(timeout_s))
        while self._data.accepted and time.monotonic() < deadline_s:
            await asyncio.sleep(LEAVE_S)
        await leaving_grpc

    async def idle(self) -> None:
        """Wait until no request over HTTP is inside."""
        await self._data.dispatcher.idle()

    async def close_grpc(self, timeout_s: float) -> None:
        """Stop accepting calls; those inside may end within `timeout_s`."""
        if self._grpc is not None:
            await self._grpc.close(timeout_s)

    async def close(self, timeout_s: float) -> None:
        """Stop accepting connections, and close all within `timeout_s`."""
        await self._data.close(timeout_s)

    def _follow(self) -> None:
        """The pipelines that are loaded have changed."""
        self._data.dispatcher.routes = self._plane.routes()
        if self._grpc is not None:
            self._grpc.refresh()
