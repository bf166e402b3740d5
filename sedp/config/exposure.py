"""Whether the daemon may listen where it is told to: where others reach it, it must know them.

Servers that trusted their network and listened to all of it are what attackers look for first. So
an address beyond this machine needs callers who prove who they are, and a wire that hides the
proof. A proxy that does both may stand in front instead: then loopback or a Unix socket will do.
"""

from __future__ import annotations

from collections.abc import Iterator

from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.places import Place


def find_exposures(daemon: DaemonSettings) -> Iterator[tuple[Place, str]]:
    """What is unsafe or cannot be, with its key below `daemon`."""
    addresses = {"listen": daemon.listen, "admin": daemon.admin}
    if daemon.grpc is not None:
        addresses["grpc"] = daemon.grpc
    for key, address in addresses.items():
        if not address.is_local and (mend := _missing(daemon)):
            text = f"'{address}' can be reached from other machines"
            near = f"or write 127.0.0.1:{address.port} and put a proxy that does it in front"
            yield (key,), f"{text}; {mend}, {near}"
    yield from _find_clashes(addresses)
    if daemon.grpc is not None and daemon.grpc.path:
        text = "gRPC cannot tell who is behind a Unix socket, nor share it among workers"
        yield ("grpc",), f"{text}; write 127.0.0.1:8002"
    if daemon.tenants and daemon.auth is None:
        yield ("tenants",), "quotas need to know who calls; set daemon.auth, or leave them out"


def _missing(daemon: DaemonSettings) -> str:
    knows_callers = daemon.auth or (daemon.tls and daemon.tls.client_ca)
    if daemon.tls is None:
        return "set daemon.tls" if knows_callers else "set daemon.tls and daemon.auth"
    return "" if knows_callers else "set daemon.auth or daemon.tls.client_ca"


def _find_clashes(addresses: dict[str, Address]) -> Iterator[tuple[Place, str]]:
    taken: dict[int | str, str] = {}
    for key, address in addresses.items():
        place = address.path or address.port
        first = taken.setdefault(place, key)
        if place and first != key:
            kind = "socket" if address.path else "port"
            yield (key,), f"{kind} {place} is that of daemon.{first}; give it another one"
