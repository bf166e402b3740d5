"""What the connection itself says of who is at its other end, before he says anything.

Both facts are vouched for by others: certificate names by the CA that the TLS handshake checked,
the user by the kernel. They cannot change while a connection lives, so they are read once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CREDENTIALS = struct.Struct("iII")  # Linux's struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of one connection.

    Args:
        names: of the client certificate, which the handshake verified: DNS names and URIs of its
            subjectAltName, then its common name; empty without one.
        uid: user of the process behind a Unix socket; `None` over TCP.
    """

    names: tuple[str, ...] = ()
    uid: int | None = None

    @classmethod
    def of(cls, transport: asyncio.BaseTransport | None) -> Peer:
        """What `transport` knows; call it once a connection."""
        if transport is None:
            return NOBODY
        certificate = transport.get_extra_info("peercert")
        own = transport.get_extra_info("socket")
        uid = None
        if own is not None and own.family == socket.AF_UNIX:
            raw = own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            uid = _CREDENTIALS.unpack(raw)[1]
        if not certificate and uid is None:
            return NOBODY
        return cls(certificate_names(certificate or {}), uid)


NOBODY = Peer()  # of a TCP connection without a client certificate


def certificate_names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in a certificate as `ssl.SSLSocket.getpeercert` shows it, the stronger ones first."""
    alternatives = certificate.get("subjectAltName", ())
    names = [name for kind, name in alternatives if kind in ("DNS", "URI")]
    fields = (field for part in certificate.get("subject", ()) for field in part)
    names += [value for key, value in fields if key == "commonName"]
    return tuple(dict.fromkeys(names))
