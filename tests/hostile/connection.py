"""Sends any bytes, HTTP or not, and takes what comes back."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from tests.hostile.responses import Response, ResponseReader
from tests.hostile.served import Address

TIMEOUT_S = 30.0
PART_BYTES = 1 << 16


class Connection:
    """One TCP connection; used for one request after the other, or pipelined."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = ResponseReader(self._receive)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, sent: bytes) -> None:
        """Send all of it, unless the server refuses and closes on the way."""
        try:
            self._socket.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            return  # its answer may be there all the same

    def receive(self) -> Response:
        """The next final response.

        Raises:
            Closed: the connection ended before it.
            NotHttp: it is broken.
            TimeoutError: nothing came.
        """
        return self._reader.read()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(PART_BYTES)
        except ConnectionResetError:
            return b""


def exchange(address: Address, sent: bytes, patience_s: float) -> bytes:
    """Send bytes on a connection of their own; all that comes back until the server closes.

    Both directions go on at once, as either may be long. When everything is sent and nothing has
    come for `patience_s`, the server is told that nothing more will be sent: it may be waiting.
    """
    with socket.create_connection(address, TIMEOUT_S) as connection:
        connection.setblocking(False)
        left = memoryview(sent)
        received: list[bytes] = []
        ends_s = time.monotonic() + TIMEOUT_S
        told = False
        while time.monotonic() < ends_s:
            wants = [connection] if left else []
            readable, writable, _ = select.select([connection], wants, [], patience_s)
            if writable:
                left = _send_some(connection, left)
            if readable:
                part = _receive_some(connection)
                if not part:
                    break
                received.append(part)
            elif not left and not writable:
                if told:
                    continue
                told = _end(connection)
        return b"".join(received)


def _send_some(connection: socket.socket, left: memoryview) -> memoryview:
    try:
        return left[connection.send(left) :]
    except (BrokenPipeError, ConnectionResetError):
        return left[:0]


def _receive_some(connection: socket.socket) -> bytes:
    try:
        return connection.recv(PART_BYTES)
    except ConnectionResetError:
        return b""


def _end(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):  # the server was first
        connection.shutdown(socket.SHUT_WR)
    return True
