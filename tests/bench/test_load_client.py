"""The load generator: what counts as an answer, and from when latency counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from bench import load_client
from bench.load_client import Address, Connection, closed_loop, open_loop, poisson

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

Reply = Callable[[int], bytes]  # number of the request → what is sent back


class Server(asyncio.Protocol):
    """Replies to each request; `replied` counts those of all connections."""

    def __init__(self, reply: Reply, replied: list[int]) -> None:
        self._reply = reply
        self._replied = replied
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._left += data
        while len(self._left) >= len(REQUEST):
            self._left = self._left[len(REQUEST) :]
            self._transport.write(self._reply(self._replied[0]))
            self._replied[0] += 1


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[Address]:
    replied = [0]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(reply, replied), "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield host, port
    finally:
        server.close()


def test_a_reply_in_pieces_is_one_reply() -> None:
    seen: list[bool] = []
    connection = Connection(lambda _, ok: seen.append(ok))
    for piece in (ANSWER[:10], ANSWER[10:30], ANSWER[30:-1]):
        connection.data_received(piece)
        assert not seen
    connection.data_received(ANSWER[-1:])
    connection.data_received(REFUSAL)
    assert seen == [True, False]


async def test_refusals_are_not_answers() -> None:
    async with serving(lambda number: REFUSAL if number % 3 == 2 else ANSWER) as address:
        run = await closed_loop(address, [REQUEST], 1, 0.05)
    assert run.answers + run.refusals > 3
    assert abs(run.answers - 2 * run.refusals) <= 2
    assert run.rate == run.answers / run.seconds


async def test_an_open_loop_sends_all_whatever_comes_back() -> None:
    async with serving(lambda number: REFUSAL if number == 4 else ANSWER) as address:
        latencies = await open_loop(address, [REQUEST], 3, poisson(2_000.0, 0.05, seed=1))
    assert len(latencies) == 100
    assert np.isinf(latencies).sum() == 1
    assert (latencies > 0).all()


async def test_what_is_not_answered_has_an_infinite_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of two connections is never answered: those sent on it, and nothing else, are late."""
    monkeypatch.setattr(load_client, "TIMEOUT_NS", 100_000_000)
    monkeypatch.setattr(load_client, "CLOSE_WAIT_NS", 1_000_000)
    async with serving(lambda number: b"" if number == 0 else ANSWER) as address:
        latencies = await open_loop(address, [REQUEST], 2, poisson(1_000.0, 0.05, seed=1))
    assert np.isinf(latencies).sum() == 1


async def test_waiting_for_a_connection_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its only connection stuck, what falls due behind it is late, though never sent."""
    monkeypatch.setattr(load_client, "TIMEOUT_NS", 50_000_000)
    monkeypatch.setattr(load_client, "CLOSE_WAIT_NS", 1_000_000)
    async with serving(lambda number: b"") as address:
        latencies = await open_loop(address, [REQUEST], 1, poisson(1_000.0, 0.03, seed=1))
    assert np.isinf(latencies).all()


async def test_a_naive_caller_asks_again_at_once_as_often_as_it_may() -> None:
    schedule = load_client.Schedule(np.array([0, 50_000_000, 100_000_000]), retries=2)
    asked: list[int] = []

    def reply(number: int) -> bytes:
        asked.append(number)
        return ANSWER if number in (2, 5) else REFUSAL

    async with serving(reply) as address:
        latencies = await open_loop(address, [REQUEST], 1, schedule)
    assert np.isfinite(latencies).tolist() == [True, True, False]
    assert len(asked) == 9
