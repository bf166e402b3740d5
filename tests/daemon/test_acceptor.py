"""Acceptors that share one socket, on one loop: nobody starves, nobody spins, nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trustme

from sedp.daemon.http.acceptor import ABSENT, Acceptor, ConnectionCounts, ConnectionShare

from .calls import until


@pytest.fixture
def counts() -> Iterator[ConnectionCounts]:
    made = ConnectionCounts.create(4)
    yield made
    made.close()


class Greeter(asyncio.Protocol):
    """Says hello, and counts itself where it was accepted."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._door.open += 1
        transport.write(b"hello")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._door.open -= 1
        self._door.acceptor.release()


class Door:
    """A process's acceptor, as far as this test goes."""

    def __init__(
        self,
        listening: socket.socket,
        counts: ConnectionCounts | None = None,
        slot: int = 0,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        self.open = 0
        share = None if counts is None else ConnectionShare(counts, slot)
        self.acceptor = Acceptor(listening.dup(), lambda: Greeter(self), ssl=ssl, share=share)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@asynccontextmanager
async def callers(
    listening: socket.socket, count: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[list[bytes]]:
    """Connections that were greeted, open until the end."""
    address = listening.getsockname()
    name = "localhost" if context else None
    opening = (
        asyncio.open_connection(*address, ssl=context, server_hostname=name) for _ in range(count)
    )
    pairs = await asyncio.gather(*opening)
    yield [await reader.readexactly(5) for reader, _ in pairs]
    for _, writer in pairs:
        writer.close()


@pytest.mark.parametrize("count", [1, 7, 40, 300])
async def test_connections_are_shared_evenly(
    listening: socket.socket, counts: ConnectionCounts, count: int
) -> None:
    """Planted: a share that is never filled lets the first acceptor take most, and fails this."""
    doors = [Door(listening, counts, slot) for slot in range(2)]
    for door in doors:
        door.acceptor.start()
    async with callers(listening, count) as greetings:
        assert greetings == [b"hello"] * count
        held = [door.open for door in doors]
        assert sum(held) == count
        assert max(held) <= count * 0.6 + 1
        assert [counts[0], counts[1]] == held
    await until(lambda: counts[0] == counts[1] == 0)
    for door in doors:
        door.acceptor.close()
    assert counts[0] == counts[1] == ABSENT


async def test_who_does_not_accept_starves_nobody(
    listening: socket.socket, counts: ConnectionCounts
) -> None:
    counts[3] = 0  # a process that hangs, and holds nothing
    door = Door(listening, counts)
    door.acceptor.start()
    started = time.monotonic()
    async with callers(listening, 200):
        assert door.open == 200
    assert time.monotonic() - started < 5
    door.acceptor.close()


class _AlwaysFilled(ConnectionShare):
    """It is never this process's turn."""

    asked = 0

    @property
    def is_filled(self) -> bool:
        self.asked += 1
        return True


async def test_waiting_for_its_turn_costs_no_cpu(
    listening: socket.socket, counts: ConnectionCounts
) -> None:
    """The socket stays readable while it waits, and would wake the loop without end."""
    door = Door(listening)
    share = door.acceptor._share = _AlwaysFilled(counts, 0)
    door.acceptor.start()
    async with callers(listening, 1):
        assert share.asked == 2  # when it came, and a millisecond later
    door.acceptor.close()


async def test_what_arrives_after_a_stop_is_for_the_others(
    listening: socket.socket, counts: ConnectionCounts
) -> None:
    leaving, staying = (Door(listening, counts, slot) for slot in range(2))
    leaving.acceptor.start()
    async with callers(listening, 3):
        leaving.acceptor.stop()
        staying.acceptor.start()
        async with callers(listening, 5):
            assert (leaving.open, staying.open) == (3, 5)
            assert leaving.acceptor.held == 3
    await until(lambda: leaving.acceptor.held == 0)
    for door in (leaving, staying):
        door.acceptor.close()


class _Exhausted:
    """A socket that has no descriptors left for some time."""

    def __init__(self, listening: socket.socket, failures: list[int]) -> None:
        self._listening = listening
        self._failures = failures

    def accept(self) -> tuple[socket.socket, object]:
        if self._failures:
            raise OSError(self._failures.pop(), "planted")
        return self._listening.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._listening, name)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_it_waits_and_goes_on(
    listening: socket.socket, number: int
) -> None:
    door = Door(listening)
    door.acceptor._socket = _Exhausted(door.acceptor._socket, [number] * 3)  # type: ignore[assignment]
    door.acceptor.start()
    async with callers(listening, 4):
        assert door.open == 4
    assert door.acceptor.starved == 3
    door.acceptor.close()


async def test_a_caller_who_left_while_waiting_is_passed_over(listening: socket.socket) -> None:
    door = Door(listening)
    door.acceptor._socket = _Exhausted(  # type: ignore[assignment]
        door.acceptor._socket, [errno.ECONNABORTED] * 3
    )
    door.acceptor.start()
    async with callers(listening, 4):
        assert door.open == 4
    assert door.acceptor.starved == 0
    door.acceptor.close()


async def test_a_failed_handshake_is_counted_and_holds_nothing(
    listening: socket.socket, counts: ConnectionCounts
) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    door = Door(listening, counts, ssl=server)
    door.acceptor.start()
    async with callers(listening, 3, client):
        assert door.open == 3
    _, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: door.acceptor.lost_early == 1)
    writer.close()
    await until(lambda: door.acceptor.held == 0)
    assert counts[0] == 0
    door.acceptor.close()
