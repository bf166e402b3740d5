"""An answer, from its parts to the bytes of its head.

aiohttp's own responses can be streamed, compressed, and changed until they are sent, which costs a
multidict and three coroutines each. Ours are complete when they are made: a status, a few headers,
a body. Whoever sends one adds what belongs to the connection.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from http import HTTPStatus

import orjson

SERVER = "sedp"  # aiohttp would name itself, Python, and their versions
JSON = {"Content-Type": "application/json"}
_STARTS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}


class Response:
    """What a handler answers.

    Args:
        headers: names and values without line breaks, its own from now on; Content-Length,
            Date, Server and Connection are added.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = {} if headers is None else headers

    def head(self, connection: str = "") -> bytes:
        """The head as it is sent.

        Args:
            connection: value of that header, "" to leave it out.
        """
        start = _STARTS.get(self.status) or f"HTTP/1.1 {self.status} "
        lines = "\r\n".join((start, *map(": ".join, self.headers.items())))
        assert lines.count("\n") == len(self.headers), "a header has a line break"
        if connection:
            lines += f"\r\nConnection: {connection}"
        end = f"\r\nContent-Length: {len(self.body)}\r\n{_CLOCK.end()}"
        return (lines + end).encode("latin-1")


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(
        orjson.dumps(body), status=status, headers={**JSON, **headers} if headers else {**JSON}
    )


class _Clock:
    """How every head ends, with the time in it; written anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def end(self) -> str:
        second = int(time.time())
        if second != self._second:
            date = email.utils.formatdate(second, usegmt=True)
            self._text = f"Server: {SERVER}\r\nDate: {date}\r\n\r\n"
            self._second = second
        return self._text


_CLOCK = _Clock()
