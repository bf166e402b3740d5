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
_STARTS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Response:
    """What a handler answers.

    Args:
        headers: names and values without line breaks; Content-Length, Date, Server and
            Connection are added.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = {**headers} if headers else {}

    def head(self, connection: str = "") -> bytes:
        """The head as it is sent.

        Args:
            connection: value of that header, "" to leave it out.
        """
        headers = self.headers
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        assert lines.count("\n") == len(headers), "a header has a line break"
        if connection:
            lines += f"Connection: {connection}\r\n"
        start = _STARTS.get(self.status) or f"HTTP/1.1 {self.status} \r\n"
        return (
            f"{start}{lines}Content-Length: {len(self.body)}\r\nServer: {SERVER}\r\n"
            f"Date: {_CLOCK.text()}\r\n\r\n"
        ).encode("latin-1")


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(
        orjson.dumps(body), status=status, headers={**JSON, **headers} if headers else JSON
    )


class _Clock:
    """The time as HTTP writes it, written anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def text(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._text = email.utils.formatdate(second, usegmt=True)
            self._second = second
        return self._text


_CLOCK = _Clock()
