"""An HTTP/1.1 client that sends any bytes and reads answers strictly: a sloppy one proves little."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

from tests.hostile.served import Address

TIMEOUT_S = 30.0
RECEIVE_BYTES = 1 << 16


class NotHttp(Exception):
    """What came back is no HTTP response."""


class Closed(Exception):
    """The server closed the connection where a response should have begun."""


@dataclass(frozen=True, slots=True)
class Response:
    """A final response.

    Args:
        headers: names in lower case; a name that came twice is there twice.
    """

    status: int
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes

    def header(self, name: str) -> str:
        """The only value of a header; "" when it is not there or there twice."""
        values = [value for key, value in self.headers if key == name]
        return values[0] if len(values) == 1 else ""

    @property
    def closes(self) -> bool:
        return self.header("connection").lower() == "close"


class Connection:
    """One TCP connection."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, sent: bytes) -> bool:
        """Whether all of it went out: a server may refuse and close on the way."""
        try:
            self._socket.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def end(self) -> None:
        """Nothing more will be sent."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the server was first

    def receive(self) -> Response:
        """The next final response to anything but HEAD.

        Raises:
            Closed: the connection ended before it.
            NotHttp: it is broken.
            TimeoutError: nothing came.
        """
        while True:
            head = self._head()
            line, *lines = head.split(b"\r\n")
            found = re.fullmatch(rb"HTTP/1\.[01] ([1-5]\d\d) [ -~]*", line)
            if found is None:
                raise NotHttp(repr(line[:80]))
            headers = [_header(line) for line in lines]
            if found[1][0:1] != b"1":
                return Response(int(found[1]), headers, self._body(int(found[1]), headers))

    def rest(self) -> bytes:
        """Whatever comes until the server closes."""
        while self._more():
            pass
        return self._left

    def _head(self) -> bytes:
        while b"\r\n\r\n" not in self._left:
            if not self._more():
                if self._left:
                    raise NotHttp(f"cut short: {self._left[:80]!r}")
                raise Closed
        head, self._left = self._left.split(b"\r\n\r\n", 1)
        return head

    def _body(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        lengths = [value for name, value in headers if name == "content-length"]
        codings = [value for name, value in headers if name == "transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise NotHttp(f"length {lengths}, coding {codings}")
        if status in (204, 304):
            return b""
        if codings:
            return self._chunks()
        if lengths:
            return self._exactly(int(lengths[0]))
        body, self._left = self.rest(), b""
        return body

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._line(), 16):
            parts.append(self._exactly(size))
            self._line()
        self._line()
        return b"".join(parts)

    def _line(self) -> bytes:
        while b"\r\n" not in self._left:
            if not self._more():
                raise NotHttp("a chunk is cut short")
        line, self._left = self._left.split(b"\r\n", 1)
        return line

    def _exactly(self, size: int) -> bytes:
        parts, have = [self._left], len(self._left)
        self._left = b""
        while have < size:
            if not (part := self._receive()):
                raise NotHttp(f"a body of {size} bytes ended after {have}")
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._left = whole[size:]
        return whole[:size]

    def _more(self) -> bool:
        part = self._receive()
        self._left += part
        return bool(part)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return b""


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise NotHttp(f"header {line[:80]!r}")
    return name.decode().lower(), value.strip().decode("latin-1")
