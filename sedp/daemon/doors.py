"""The addresses of a serving process, taken before anything slow is done.

Whoever starts first takes them, once: the daemon itself, or the supervisor, whose workers inherit
them. So a wrong address is told within milliseconds, and a connection that arrives while a worker
is replaced waits in the backlog instead of being refused.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.errors import ConfigError

SOCKET_MODE = 0o660
ANSWER_S = 1.0  # for somebody who listens on a path to have room for us


@dataclass(frozen=True, slots=True)
class Doors:
    """Sockets that are bound but not listened on.

    Args:
        data: inference over HTTP.
        admin: `None` where another process has the admin plane.
        grpc: holds the gRPC port for servers that bind it once more with SO_REUSEPORT; never
            listened on. `None` when gRPC is off, or on a Unix socket, which it binds itself.
        paths: of Unix sockets that were made here, and go when these doors are closed.
    """

    data: socket.socket
    admin: socket.socket | None
    grpc: socket.socket | None = None
    paths: tuple[str, ...] = ()

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
            if settings.grpc is not None and not settings.grpc.path:
                grpc = taken.enter_context(bind(settings.grpc, "daemon.grpc", shared=True))
            taken.pop_all()
        paths = tuple(path for path in (settings.listen.path, settings.admin.path) if path)
        return cls(data, admin, grpc, paths)

    def close(self) -> None:
        """Give the addresses back."""
        for door in (self.data, self.admin, self.grpc):
            if door is not None:
                door.close()
        for path in self.paths:
            with suppress(OSError):
                os.unlink(path)


def bind(address: Address, key: str, *, shared: bool = False) -> socket.socket:
    """Take an address without listening yet.

    Args:
        key: of the config, for messages.
        shared: let sockets of this user take it, too.

    Raises:
        ConfigError: the address is in use, not ours, or not allowed.
    """
    if address.path:
        return _bind_path(address, key)
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
    """The address of a socket as a config writes it, with the real port when 0 was asked for."""
    name = bound.getsockname()
    return str(Address(path=name) if isinstance(name, str) else Address(*name[:2]))


def _bind_path(address: Address, key: str) -> socket.socket:
    """A Unix socket that its user and group may connect to."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_deserted(address.path)
        os.fchmod(bound.fileno(), 0o600)  # the file is made with this mode, or a narrower one
        bound.bind(address.path)
        os.chmod(address.path, SOCKET_MODE)
    except OSError as err:
        bound.close()
        mend = "stop the process that has it, or set another path"
        if err.errno != errno.EADDRINUSE:
            mend = "set a path in a folder that this user may write to"
        raise ConfigError(f"{key}: cannot listen on {address}: {err.strerror}; {mend}") from err
    return bound


def _remove_deserted(path: str) -> None:
    """A Unix socket outlives the process that made it; remove it if nobody answers there."""
    try:
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            return  # binding will say that something is there
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(ANSWER_S)
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
