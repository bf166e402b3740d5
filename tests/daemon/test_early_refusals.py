"""What was refused is refused again from the bytes of its head, and nothing else ever is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sedp.daemon.access.guard import Peer
from sedp.daemon.http import early_refusals

from .door import Client, Door, OpenDoor, chunked, doors, post

FULL = post(3, "/full") + b"abc"


@pytest.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    async with doors() as make:
        yield make


class Parsed:
    """Counts the requests that the parser has seen."""

    def __init__(self, door: Door) -> None:
        self._server = door.connection
        self._before = self._server._request_count

    @property
    def count(self) -> int:
        return self._server._request_count - self._before


async def refused_once(open_door: OpenDoor) -> tuple[Door, Client, Parsed]:
    door = await open_door()
    client = await Client.open(door)
    assert (await client.ask(FULL))[0] == 503
    return door, client, Parsed(door)


async def test_the_same_head_is_refused_without_being_parsed(open_door: OpenDoor) -> None:
    door, client, parsed = await refused_once(open_door)
    ids = set()
    for body in (b"abc", b"xyz", b"GET"):
        status, answer = await client.ask(post(3, "/full") + body)
        assert status == 503
        assert b"Retry-After: " in answer
        ids.add(answer.split(b"X-Request-Id: ")[1].split(b"\r\n")[0])
    assert parsed.count == 0
    assert len(ids) == 3
    assert door.asked == 4
    assert door.dispatcher.responses[503] == 4
    await client.close()


async def test_it_is_served_as_soon_as_there_is_room(open_door: OpenDoor) -> None:
    door, client, parsed = await refused_once(open_door)
    door.is_full = False
    status, answer = await client.ask(FULL)
    assert (status, answer[-3:]) == (200, b"abc")
    door.is_full = True
    assert (await client.ask(FULL))[0] == 503
    assert parsed.count == 1  # and known again after a request that was served
    await client.close()


@pytest.mark.parametrize(
    "data",
    [
        FULL + FULL,
        FULL + b"P",
        FULL[:-1],
        b"\r\n" + FULL,
        FULL.replace(b"Host: a", b"Host: b"),
        FULL.replace(b"Content-Length: 3", b"Content-Length: 2") + b"GET",
    ],
    ids=["two", "one and a byte", "too short", "an empty line", "another head", "another length"],
)
async def test_anything_else_is_parsed(open_door: OpenDoor, data: bytes) -> None:
    _door, client, parsed = await refused_once(open_door)
    client.writer.write(data)
    client.writer.write_eof()
    await client.is_cut()
    assert parsed.count >= (data != FULL[:-1])
    await client.close()


async def test_bytes_that_look_like_a_known_head_within_another_are_parsed(
    open_door: OpenDoor,
) -> None:
    _door, client, _parsed = await refused_once(open_door)
    unfinished = b"POST /echo HTTP/1.1\r\nHost: a\r\nNote: "
    status, _ = await client.ask(post(3, "/full", "a: b\r\n") + b"abc" + unfinished)
    assert status == 503
    assert (await client.ask(FULL))[0] == 400  # a second Host
    await client.close()


async def test_the_answers_are_those_of_the_requests_sent(open_door: OpenDoor) -> None:
    """However the bytes are cut, each request gets its own answer, in order."""
    for cut in range(1, 2 * len(FULL)):
        _door, client, _parsed = await refused_once(open_door)
        data = FULL + post(5) + b"hello"
        client.writer.write(data[:cut])
        await client.writer.drain()
        client.writer.write(data[cut:])
        assert (await client.read())[0] == 503
        status, answer = await client.read()
        assert (status, answer[-5:]) == (200, b"hello")
        await client.close()


@pytest.mark.parametrize(
    "request_",
    [
        post(3, "/full", "Expect: 100-continue\r\n") + b"abc",
        post(3, "/full", "Connection: close\r\n") + b"abc",
        post(3, "/full").replace(b"1.1", b"1.0") + b"abc",
        chunked(3).replace(b"/echo", b"/full"),
    ],
    ids=["expecting", "closing", "old", "chunked"],
)
async def test_heads_that_do_not_say_all_are_not_learnt(
    open_door: OpenDoor, request_: bytes
) -> None:
    door = await open_door()
    client = await Client.open(door)
    assert (await client.ask(request_))[0] == 503
    assert not door.dispatcher.early.heads
    await client.close()


async def test_what_was_learnt_is_forgotten(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_refusals, "LIFE_S", 0.0)
    monkeypatch.setattr(early_refusals, "HEADS_MAX", 4)
    door, client, parsed = await refused_once(open_door)
    for number in range(10):
        assert (await client.ask(post(3, "/full", f"a: {number}\r\n") + b"abc"))[0] == 503
    assert len(door.dispatcher.early.heads) <= 4
    assert (await client.ask(post(3, "/full", "a: 9\r\n") + b"abc"))[0] == 503
    assert parsed.count == 11
    await client.close()


async def test_a_leaving_server_says_so(open_door: OpenDoor) -> None:
    door, client, parsed = await refused_once(open_door)
    door.dispatcher.closing = True
    status, answer = await client.ask(FULL)
    assert status == 503
    assert b"Connection: close" in answer
    assert parsed.count == 1
    await client.close()


# Where the reason stands in the body ----------------------------------------------------------


def leveled(level: int, rest: str = "ab", told: int | None = 1, path: str = "/by-body") -> bytes:
    """A request whose level is the first byte of its body; `told` bytes say so, or none."""
    extra = "" if told is None else f"Told: {told}\r\n"
    return post(1 + len(rest), path, extra) + f"{level}{rest}".encode()


async def shed_once(open_door: OpenDoor, request_: bytes) -> tuple[Door, Client, Parsed]:
    door = await open_door()
    client = await Client.open(door)
    assert (await client.ask(request_))[0] == 503
    return door, client, Parsed(door)


async def test_a_body_of_a_level_that_was_refused_is_refused_unread(open_door: OpenDoor) -> None:
    door, client, parsed = await shed_once(open_door, leveled(3))
    for rest in ("ab", "xy", "zz"):
        status, answer = await client.ask(leveled(3, rest))
        assert status == 503
        assert b"Retry-After: " in answer
    assert parsed.count == 0
    assert door.shed == {3: 4}
    assert door.dispatcher.responses[503] == 4
    await client.close()


async def test_another_level_with_the_same_head_is_read(open_door: OpenDoor) -> None:
    door, client, parsed = await shed_once(open_door, leveled(3))
    for count in (1, 2):
        status, answer = await client.ask(leveled(1))
        assert (status, answer[-3:]) == (200, b"1ab")
        assert parsed.count == count
    assert (await client.ask(leveled(2)))[0] == 503  # read, and known from then on
    assert parsed.count == 3
    for level in (2, 3):
        assert (await client.ask(leveled(level)))[0] == 503
    assert parsed.count == 3
    assert door.shed == {2: 2, 3: 2}
    await client.close()


async def test_a_level_is_served_as_soon_as_there_is_room_for_it(open_door: OpenDoor) -> None:
    door, client, parsed = await shed_once(open_door, leveled(3))
    door.level_max = 3
    assert (await client.ask(leveled(3)))[0] == 200
    assert parsed.count == 1
    await client.close()


async def test_bodies_that_do_not_tell_where_the_level_stands_are_always_read(
    open_door: OpenDoor,
) -> None:
    """So it is with JSON: nothing at its beginning holds for the next."""
    door, client, parsed = await shed_once(open_door, leveled(3, told=None))
    assert (await client.ask(leveled(3, told=None)))[0] == 503
    assert parsed.count == 1
    assert not door.dispatcher.early.heads
    await client.close()


async def test_a_route_that_refuses_by_body_is_not_learnt_from_its_head(
    open_door: OpenDoor,
) -> None:
    door = await open_door()
    client = await Client.open(door)
    put = leveled(3).replace(b"POST", b"PUT", 1)
    for _ in range(2):
        assert (await client.ask(put))[0] == 503
    assert not door.dispatcher.early.heads
    await client.close()


async def test_what_was_refused_to_one_peer_is_read_from_another(open_door: OpenDoor) -> None:
    door, client, _parsed = await shed_once(open_door, leveled(3))
    early = door.dispatcher.early
    [known] = early.heads.values()
    other = Peer(("other.example",))
    assert early.answer(leveled(3), other) is None
    assert early.answer(leveled(3), known.peer) is not None
    await client.close()


@pytest.mark.parametrize("mine", ["Authorization: Bearer a", "X-API-Key: a"])
async def test_what_was_refused_to_one_tenant_is_read_from_another(
    open_door: OpenDoor, mine: str
) -> None:
    own = leveled(3).replace(b"Host: a\r\n", f"Host: a\r\n{mine}\r\n".encode())
    _door, client, parsed = await shed_once(open_door, own)
    assert (await client.ask(own.replace(mine.encode(), mine[:-1].encode() + b"b")))[0] == 503
    assert parsed.count == 1
    assert (await client.ask(own))[0] == 503
    assert parsed.count == 1
    await client.close()


async def test_beginnings_of_one_head_are_few(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_refusals, "OPENINGS_MAX", 3)
    door, client, _parsed = await shed_once(open_door, leveled(3, told=3))
    for number in range(10, 20):
        assert (await client.ask(leveled(3, str(number), told=3)))[0] == 503
    [known] = door.dispatcher.early.heads.values()
    assert len(known.reasons) == 3
    await client.close()


async def test_the_tests_see_levels_that_are_not_told_apart(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: a head that is learnt as if its body did not matter."""
    learn = early_refusals.EarlyRefusals.learn

    def careless(self: Any, opening: bytes, told: int, *rest: Any) -> None:
        learn(self, opening[: len(opening) - told], 0, *rest)

    monkeypatch.setattr(early_refusals.EarlyRefusals, "learn", careless)
    _door, client, parsed = await shed_once(open_door, leveled(3))
    assert (await client.ask(leveled(1)))[0] == 503
    assert parsed.count == 0
    await client.close()
