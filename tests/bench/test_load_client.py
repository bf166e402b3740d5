"""The load generator: what counts as an answer, and from when latency counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from bench import load_client
from bench.load_client import (
    Address,
    Connection,
    Schedule,
    closed_loop,
    offer,
    open_loop,
    poisson,
)

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

Reply = Callable[[int], bytes | None]  # number of the request → what is sent back; None closes


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
            reply = self._reply(self._replied[0])
            self._replied[0] += 1
            if reply is None:
                self._transport.abort()
            else:
                self._transport.write(reply)


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


async def test_a_patient_caller_asks_again_after_a_pause_and_counts_from_then() -> None:
    pause_ns = 50_000_000
    async with serving(lambda number: REFUSAL if number == 0 else ANSWER) as address:
        schedule = Schedule(np.array([0]), retries=3, pause_ns=pause_ns)
        started_ns = time.monotonic_ns()
        offered = await offer(address, [REQUEST], 1, schedule)
    assert offered.due_ns[0] - started_ns >= pause_ns
    assert 0 <= offered.latencies[0] < load_client.TIMEOUT_NS / 1e9


async def test_an_answer_that_is_kept_is_the_one_to_its_request() -> None:
    answers = [ANSWER.replace(b"hello", b"%05d" % number) for number in range(20)]
    schedule = load_client.Schedule(np.arange(20) * 2_000_000)
    async with serving(lambda number: answers[number]) as address:
        offered = await offer(address, [REQUEST], 1, schedule, keep=True)
    assert list(offered.replies) == answers


async def test_how_late_it_sent_is_told_apart_from_how_long_the_server_took() -> None:
    """Two due at once on one connection: the second is sent when the first is answered."""
    schedule = load_client.Schedule(np.array([0, 0]))
    async with serving(lambda number: ANSWER) as address:
        offered = await offer(address, [REQUEST], 1, schedule)
    assert offered.late_s[0] < offered.latencies[0] <= offered.late_s[1] < offered.latencies[1]


async def test_a_connection_that_the_server_closes_ends_its_request_alone() -> None:
    """Without waiting for the time-out, and nothing is sent on it again."""
    async with serving(lambda number: None if number == 0 else ANSWER) as address:
        begun_s = time.monotonic()
        schedule = poisson(1_000.0, 0.05, seed=1)
        latencies = await open_loop(address, [REQUEST], 2, schedule)
    assert np.isinf(latencies).sum() == 1
    assert time.monotonic() - begun_s < load_client.TIMEOUT_NS / 1e9
