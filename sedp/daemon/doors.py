"""The addresses of a serving process, taken before anything slow is done.

Whoever starts first takes them, once: the daemon itself, or the supervisor, whose workers inherit
them. So a wrong address is told within milliseconds, and a connection that arrives while a worker
is replaced waits in the backlog instead of being refused.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Doors:
    """Sockets that are bound but not listened on.

    Args:
        data: inference over HTTP.
        admin: `None` where another process has the admin plane.
        grpc: holds the gRPC port for servers that bind it once more with SO_REUSEPORT; never
            listened on. `None` when gRPC is off.
    """

    data: socket.socket
    admin: socket.socket | None
    grpc: socket.socket | None = None

    @classmethod
    def open(cls, settings: DaemonSettings) -> Doors:
        """Take all addresses, or none.

        Raises:
            ConfigError: an address is in use, not ours, or not allowed.
        """
        with ExitStack() as taken:
            data = taken.enter_context(bind(settings.listen, "daemon.listen"))
            admin = taken.enter_context(bind(settings.admin, "daemon.admin"))
            grpc = None
            if settings.grpc is not None:
                grpc = taken.enter_context(bind(settings.grpc, "daemon.grpc", shared=True))
            taken.pop_all()
        return cls(data, admin, grpc)

    def close(self) -> None:
        for door in (self.data, self.admin, self.grpc):
            if door is not None:
                door.close()


def bind(address: Address, key: str, *, shared: bool = False) -> socket.socket:
    """Take an address without listening yet.

    Args:
        key: of the config, for messages.
        shared: let sockets of this user take it, too.

    Raises:
        ConfigError: the address is in use, not ours, or not allowed.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as err:
        raise ConfigError(f"{key}: {address.host!r} is no address: {err.strerror}") from err
    try:
        option = socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(place)
    except OSError as err:
        bound.close()
        mend = "stop the process that has it, or set another port"
        if err.errno != errno.EADDRINUSE:
            mend = "set an address of this machine and a port you may use"
        raise ConfigError(f"{key}: cannot listen on {address}: {err.strerror}; {mend}") from err
    return bound


def spell(bound: socket.socket) -> str:
    """`host:port` of a socket, with the real port when 0 was asked for."""
    host, port = bound.getsockname()[:2]
    return str(Address(host, port))
