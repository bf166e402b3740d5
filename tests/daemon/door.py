"""A listener with simple handlers, and clients that send it raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sedp.answer import Unanswered
from sedp.daemon.failures import FailureLog
from sedp.daemon.http.body import read_body
from sedp.daemon.http.connection import Connection
from sedp.daemon.http.dispatch import Alike, Call, Dispatcher, Route
from sedp.daemon.http.limits import ConnectionLimits
from sedp.daemon.http.listener import Listener
from sedp.daemon.http.response import Response
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.engine.events import Outcome

LARGE = 8 << 20  # fits no socket buffer


class Door:
    """A listener whose handlers echo, answer much, or wait."""

    def __init__(self, **limits: Any) -> None:
        self.opened = asyncio.Event()
        self.is_full = True
        self.asked = 0  # whether `/full` is
        self.level_max = 1  # that is served at `/by-body`
        self.shed: Counter[int] = Counter()
        self.in_flight = InFlightBytes(limits.pop("in_flight_bytes_max", 1 << 30))
        self.body_timeout_s = limits.pop("body_timeout_s", 5.0)
        self.bytes_max = limits.pop("bytes_max", 1 << 20)
        routes = {
            "/echo": {"POST": Route(self._echo)},
            "/much": {"GET": Route(self._much)},
            "/wait": {"POST": Route(self._wait)},
            "/full": {"POST": Route(self._echo, refuse=self._refuse)},
            "/by-body": {
                "POST": Route(self._by_level, refuse=lambda: None, by_body=True),
                "PUT": Route(self._echo, refuse=self._refuse, by_body=True),
            },
        }
        log = FailureLog(logging.getLogger("test"))
        self.dispatcher = Dispatcher(routes, lambda path: f"nothing at {path}", log)
        listening = socket.create_server(("127.0.0.1", 0))
        self.listener = Listener(
            listening,
            self.dispatcher,
            log,
            limits=ConnectionLimits(**limits),
            in_flight=self.in_flight,
        )
        self.address = listening.getsockname()

    @property
    def connection(self) -> Connection:
        """The only one there is."""
        [connection] = self.listener._open
        return connection

    async def _echo(self, call: Call) -> Response:
        return Response(await read_body(call.request, self.bytes_max, self.body_timeout_s))

    async def _wait(self, call: Call) -> Response:
        body = await read_body(call.request, self.bytes_max, self.body_timeout_s)
        await self.opened.wait()
        return Response(body)

    async def _by_level(self, call: Call) -> Response:
        """The first byte of a body is its level; a header says whether it can be told from it."""
        body = await read_body(call.request, self.bytes_max, self.body_timeout_s)
        level = int(body[:1])
        if (unanswered := self.refuse_level(level)) is None:
            return Response(body)
        if "Told" in call.request.headers:
            reason = functools.partial(self.refuse_level, level)
            call.alike = Alike(int(call.request.headers["Told"]), reason)
        raise unanswered

    def refuse_level(self, level: int) -> Unanswered | None:
        """Why it is not served; counts it."""
        if level <= self.level_max:
            return None
        self.shed[level] += 1
        return Unanswered(Outcome.SHED, "")

    def _refuse(self) -> Unanswered | None:
        self.asked += 1
        return Unanswered(Outcome.QUEUE_FULL, "") if self.is_full else None

    async def _much(self, _call: Call) -> Response:
        return Response(bytes(LARGE))


OpenDoor = Callable[..., Awaitable[Door]]


@contextlib.asynccontextmanager
async def doors() -> AsyncIterator[OpenDoor]:
    """Opens doors, and closes them at the end."""
    opened: list[Door] = []

    async def make(**limits: Any) -> Door:
        opened.append(Door(**limits))
        await opened[-1].listener.listen()
        return opened[-1]

    yield make
    for door in opened:
        door.opened.set()
        await door.listener.close(0.01)


class Client:
    """Raw bytes there, responses back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, door: Door, local: str = "127.0.0.1", **options: Any) -> Client:
        host, port = door.address
        return cls(*await asyncio.open_connection(host, port, local_addr=(local, 0), **options))

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        self.writer.write(data)
        return await self.read()

    async def read(self) -> tuple[int, bytes]:
        """Status and body of the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        return int(head.split()[1]), head + await self.reader.readexactly(int(length[1]))

    async def is_cut(self) -> bool:
        """Whether the server closes; waits until it does."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()
        return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def post(size: int, path: str = "/echo", extra: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{extra}Content-Length: {size}\r\n\r\n".encode()


def chunked(count: int) -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"1\r\na\r\n" * count + b"0\r\n\r\n"
