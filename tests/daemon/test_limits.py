"""What a connection may cost: each limit one below, at, and one above, over real sockets."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from sedp.daemon.http.limits import (
    FIELD_BYTES_MAX,
    FIELDS_MAX,
    HEAD_BYTES_MAX,
    REQUESTS_MAX,
)

from .calls import until
from .door import LARGE, Client, OpenDoor, doors, post

AT = -1e-9  # a limit itself, but for what floats may lose


@pytest.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    async with doors() as make:
        yield make


# Time


@pytest.mark.parametrize(("over_s", "status"), [(-0.001, 200), (AT, 200), (0.001, 408)])
async def test_a_head_may_take_its_time_and_no_more(
    open_door: OpenDoor, over_s: float, status: int
) -> None:
    door = await open_door(head_timeout_s=3600.0, idle_timeout_s=1e6)
    client = await Client.open(door)
    client.writer.write(post(0)[:20])
    await until(lambda: bool(door.listener._open) and door.connection._head_since > 0)
    door.connection.check(door.connection._head_since + 3600.0 + over_s)
    client.writer.write(post(0)[20:])
    assert (await client.read())[0] == status
    await client.close()


async def test_bytes_that_trickle_do_not_begin_a_head_anew(open_door: OpenDoor) -> None:
    door = await open_door()
    client = await Client.open(door)
    client.writer.write(post(0)[:20])
    await until(lambda: bool(door.listener._open) and door.connection._head_since > 0)
    since = door.connection._head_since
    client.writer.write(post(0)[20:30])
    await until(lambda: door.connection._head_bytes == 30)
    assert door.connection._head_since == since
    await client.close()


async def test_the_listener_looks_at_its_connections_by_itself(open_door: OpenDoor) -> None:
    door = await open_door(head_timeout_s=0.1)
    client = await Client.open(door)
    assert (await client.ask(post(0)[:20]))[0] == 408
    assert await client.is_cut()
    await client.close()


@pytest.mark.parametrize(("over_s", "is_open"), [(-0.001, True), (AT, True), (0.001, False)])
async def test_an_idle_connection_stays_for_its_time(
    open_door: OpenDoor, over_s: float, is_open: bool
) -> None:
    door = await open_door(idle_timeout_s=3600.0)
    client = await Client.open(door)
    assert (await client.ask(post(1) + b"a"))[0] == 200
    await until(lambda: not door.connection._request_in_progress)
    door.connection.check(door.connection._idle_since + 3600.0 + over_s)
    if is_open:
        assert (await client.ask(post(1) + b"a"))[0] == 200
    else:
        assert await client.is_cut()
    await client.close()


async def test_a_connection_at_work_is_not_idle(open_door: OpenDoor) -> None:
    door = await open_door(idle_timeout_s=3600.0)
    client = await Client.open(door)
    client.writer.write(post(1, "/wait") + b"a")
    await until(lambda: bool(door.listener._open) and door.connection._request_in_progress)
    door.connection.check(1e9)
    door.opened.set()
    assert (await client.read())[0] == 200
    await client.close()


@pytest.mark.parametrize(("over_s", "is_open"), [(-0.001, True), (AT, True), (0.001, False)])
async def test_an_answer_must_be_read_in_time(
    open_door: OpenDoor, over_s: float, is_open: bool
) -> None:
    door = await open_door(write_timeout_s=3600.0)
    client = await Client.open(door, limit=1024)
    client.writer.write(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: door.listener.unread.held == LARGE)
    door.connection.check(door.connection._unread_since + 3600.0 + over_s)
    if is_open:
        status, answer = await client.read()
        assert status == 200
        assert len(answer) > LARGE
    else:
        assert await client.is_cut()
    await until(lambda: door.listener.unread.held == 0)
    await client.close()


async def test_a_caller_who_never_reads_does_not_get_a_second_answer(open_door: OpenDoor) -> None:
    door = await open_door()
    client = await Client.open(door, limit=1024)
    client.writer.write(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
    await until(lambda: door.dispatcher.responses[200] == 1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert door.dispatcher.responses[200] == 1
    assert door.listener.unread.held == LARGE
    client.writer.transport.abort()
    await until(lambda: door.listener.unread.held == 0)


async def test_those_who_read_last_are_cut_off_first_and_nobody_else_is_refused(
    open_door: OpenDoor,
) -> None:
    door = await open_door(in_flight_bytes_max=2 * LARGE)
    clients = [await Client.open(door, limit=1024) for _ in range(3)]
    for count, client in enumerate(clients, 1):
        client.writer.write(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda count=count: door.dispatcher.responses[200] == count)
    assert await clients[0].is_cut()
    assert door.listener.statistics().callers_cut == 1
    good = await Client.open(door)
    assert (await good.ask(post(1000) + bytes(1000)))[0] == 200
    for client in clients[1:]:
        status, answer = await client.read()
        assert (status, len(answer) > LARGE) == (200, True)
    for client in (*clients, good):
        await client.close()


# Numbers


async def test_connections_are_bounded(open_door: OpenDoor) -> None:
    door = await open_door(connections_max=2)
    clients = [await Client.open(door) for _ in range(3)]
    for client in clients[:2]:
        assert (await client.ask(post(0)))[0] == 200
    status, answer = await clients[2].read()
    assert status == 503
    assert b"Retry-After: 1\r\n" in answer
    assert await clients[2].is_cut()
    assert door.listener.statistics().connections_refused == 1
    await clients[0].close()
    await until(lambda: door.listener.connections == 1)
    late = await Client.open(door)
    assert (await late.ask(post(0)))[0] == 200
    for client in [*clients, late]:
        await client.close()


async def test_connections_of_one_address_are_bounded(open_door: OpenDoor) -> None:
    door = await open_door(connections_per_peer_max=2)
    clients = [await Client.open(door) for _ in range(2)]
    for client in clients:
        assert (await client.ask(post(0)))[0] == 200
    third = await Client.open(door)
    assert (await third.read())[0] == 503
    other = await Client.open(door, "127.0.0.2")
    assert (await other.ask(post(0)))[0] == 200
    for client in [*clients, third, other]:
        await client.close()
    await until(lambda: not door.listener.connections)
    assert not door.listener._by_address


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 400)])
async def test_headers_are_counted(open_door: OpenDoor, over: int, status: int) -> None:
    door = await open_door()
    client = await Client.open(door)
    fields = "a: b\r\n" * (FIELDS_MAX - 2 + over)  # Host and Content-Length are the other two
    assert (await client.ask(post(0, extra=fields)))[0] == status
    await client.close()


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 400)])
async def test_a_header_has_a_size(open_door: OpenDoor, over: int, status: int) -> None:
    door = await open_door()
    client = await Client.open(door)
    field = f"a: {'b' * (FIELD_BYTES_MAX + over)}\r\n"
    assert (await client.ask(post(0, extra=field)))[0] == status
    await client.close()


async def test_a_head_in_pieces_has_a_size(open_door: OpenDoor) -> None:
    door = await open_door()
    client = await Client.open(door)
    start = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
    client.writer.write(start)
    await until(lambda: bool(door.listener._open) and door.connection._head_bytes == len(start))
    fields = f"a: {'b' * 4000}\r\n".encode() * 20
    client.writer.write(fields[: HEAD_BYTES_MAX - len(start)])
    await until(lambda: door.connection._head_bytes == HEAD_BYTES_MAX)
    assert (await client.ask(b"b"))[0] == 431
    assert await client.is_cut()
    await client.close()


@pytest.mark.parametrize("count", [REQUESTS_MAX - 1, REQUESTS_MAX, REQUESTS_MAX + 1, 500])
async def test_requests_sent_ahead_wait_in_the_socket(open_door: OpenDoor, count: int) -> None:
    door = await open_door()
    client = await Client.open(door)
    client.writer.write(post(1, "/wait") + b"w")
    await until(lambda: bool(door.listener._open) and door.connection._request_in_progress)
    bodies = [b"%04d" % number for number in range(count)]
    client.writer.write(b"".join(post(4) + body for body in bodies))
    await until(lambda: len(door.connection._messages) == min(count, REQUESTS_MAX))
    door.opened.set()
    assert (await client.read())[1].endswith(b"w")
    for body in bodies:
        status, answer = await client.read()
        assert (status, answer[-4:]) == (200, body)
    await client.close()


@pytest.mark.parametrize(
    "fact",
    [
        functools.partial(test_an_answer_must_be_read_in_time, over_s=AT, is_open=True),
        functools.partial(test_an_answer_must_be_read_in_time, over_s=0.001, is_open=False),
        test_a_caller_who_never_reads_does_not_get_a_second_answer,
        test_connections_are_bounded,
        functools.partial(test_requests_sent_ahead_wait_in_the_socket, count=500),
    ],
)
def test_it_is_so_on_uvloop(fact: Callable[[OpenDoor], Awaitable[None]]) -> None:
    """Its transports buffer, pause and close in ways of their own."""

    async def check() -> None:
        async with doors() as make:
            await fact(make)

    uvloop.run(check())
