"""Reads HTTP/1.1 responses strictly: a sloppy reader would forgive what proxies do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field


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


class ResponseReader:
    """Takes responses off a stream of bytes.

    Args:
        more: the next bytes; b"" when there are no more.
    """

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._receive = more
        self._left = b""

    def read(self, *, to_head: bool = False) -> Response:
        """The next final response.

        Args:
            to_head: the request's method was HEAD.

        Raises:
            Closed: the stream ended before it.
            NotHttp: it is broken.
        """
        while True:
            line, *lines = self._head().split(b"\r\n")
            found = re.fullmatch(rb"HTTP/1\.[01] ([1-5]\d\d) [ -~]*", line)
            if found is None:
                raise NotHttp(repr(line[:80]))
            headers = [_header(line) for line in lines]
            status = int(found[1])
            if status >= 200:
                body = b"" if to_head or status in (204, 304) else self._body(headers)
                return Response(status, headers, body)

    def _head(self) -> bytes:
        while b"\r\n\r\n" not in self._left:
            if not self._more():
                if self._left:
                    raise NotHttp(f"cut short: {self._left[:80]!r}")
                raise Closed
        head, self._left = self._left.split(b"\r\n\r\n", 1)
        return head

    def _body(self, headers: list[tuple[str, str]]) -> bytes:
        lengths = [value for name, value in headers if name == "content-length"]
        codings = [value for name, value in headers if name == "transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise NotHttp(f"length {lengths}, coding {codings}")
        if codings:
            return self._chunks()
        if lengths:
            return self._exactly(int(lengths[0]))
        while self._more():
            pass
        body, self._left = self._left, b""
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


def read_all(stream: bytes, to_head: Collection[int] = ()) -> list[Response]:
    """All responses in `stream`, of which those at `to_head` answer HEAD requests.

    Raises:
        NotHttp: one is broken.
    """
    parts = [stream]
    reader = ResponseReader(lambda: parts.pop() if parts else b"")
    found: list[Response] = []
    while True:
        try:
            found.append(reader.read(to_head=len(found) in to_head))
        except Closed:
            return found


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise NotHttp(f"header {line[:80]!r}")
    return name.decode().lower(), value.strip().decode("latin-1")
