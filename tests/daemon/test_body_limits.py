"""What a body may cost: each limit one below, at, and one above, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sedp.daemon.http import body as body_module
from sedp.daemon.http.body import CHUNKS_MAX

from .calls import until
from .door import Client, OpenDoor, chunked, doors, post


@pytest.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    async with doors() as make:
        yield make


async def test_a_body_that_stalls_is_given_up(open_door: OpenDoor) -> None:
    door = await open_door(body_timeout_s=0.1, body_rate_min=0)
    client = await Client.open(door)
    status, answer = await client.ask(post(2) + b"a")
    assert status == 408
    assert b"within 0.1 s; only 1 bytes did" in answer
    assert b"Connection: close" in answer
    await client.close()


async def test_a_body_must_keep_up_a_rate(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "GRACE_S", 0.05)
    door = await open_door(body_rate_min=10_000, body_timeout_s=60.0)
    client = await Client.open(door)
    loop = asyncio.get_running_loop()
    started = loop.time()
    status, answer = await client.ask(post(2_000) + bytes(1_000))
    assert status == 408
    assert b"send 10000 a second" in answer
    assert loop.time() - started >= 0.149  # the grace, and what 1,000 bytes may take
    await client.close()


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 503)])
async def test_bytes_in_flight_are_bounded(open_door: OpenDoor, size: int, status: int) -> None:
    door = await open_door(in_flight_bytes_max=3000)
    first = await Client.open(door)
    first.writer.write(post(2000, "/wait") + bytes(2000))
    await until(lambda: door.in_flight.held == 2000)
    second = await Client.open(door)
    got, answer = await second.ask(post(size) + bytes(size))
    assert got == status
    assert (b"Retry-After: " in answer) == (status == 503)
    door.opened.set()
    assert (await first.read())[0] == 200
    assert door.in_flight.held == 0
    await first.close()
    await second.close()


async def test_bytes_in_flight_are_refused_before_they_are_sent(open_door: OpenDoor) -> None:
    door = await open_door(in_flight_bytes_max=1000)
    client = await Client.open(door)
    status, _ = await client.ask(post(1001, extra="Expect: 100-continue\r\n"))
    assert status == 503  # and not 100
    await client.close()


async def test_chunks_count_as_bytes_in_flight(open_door: OpenDoor) -> None:
    door = await open_door(in_flight_bytes_max=1000)
    for count, status in ((1000, 200), (1001, 503)):
        client = await Client.open(door)
        assert (await client.ask(chunked(count)))[0] == status
        await until(lambda: door.in_flight.held == 0)
        await client.close()


async def test_a_chunked_request_ends_its_connection(open_door: OpenDoor) -> None:
    """Its last trailer would become a header of the next request."""
    client = await Client.open(await open_door())
    trailed = chunked(1)[:-2] + b"X-Request-Id: smuggled\r\n\r\n"
    status, answer = await client.ask(trailed + post(1) + b"a")
    assert status == 200
    assert b"Connection: close" in answer
    assert await client.is_cut()
    await client.close()


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_chunks_are_counted(open_door: OpenDoor, over: int, status: int) -> None:
    door = await open_door()
    client = await Client.open(door)
    assert (await client.ask(chunked(CHUNKS_MAX + over)))[0] == status
    await client.close()


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_a_body_has_a_size(open_door: OpenDoor, over: int, status: int) -> None:
    door = await open_door(bytes_max=5000)
    for request in (post(5000 + over) + bytes(5000 + over), chunked(5000 + over)):
        client = await Client.open(door)
        assert (await client.ask(request))[0] == status
        await client.close()
