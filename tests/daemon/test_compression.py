"""Which encoding is chosen, and what inflating may cost."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from sedp.daemon.http.compression import WORTH_BYTES, choose_encoding, deflate, inflate
from sedp.daemon.http.response import Response
from sedp.errors import RequestError

from .door import Client, OpenDoor, doors, post

MIB = 1 << 20


@pytest.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    async with doors() as make:
        yield make


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP ; Q=0.5", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0.2, deflate;q=0.8", "deflate"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, *", "deflate"),
        ("*", "gzip"),
        ("*;q=0", "identity"),
        ("br, zstd", "identity"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip", "gzip"),
        ("gzip;q=2", "identity"),
        ("gzip;q=nan", "identity"),
        ("gzip,,", "identity"),
        ("a" * 10_000, "identity"),
    ],
)
def test_the_caller_chooses(accepted: str, encoding: str) -> None:
    assert choose_encoding(accepted) == encoding


@pytest.mark.parametrize("size", [WORTH_BYTES, 10 * MIB])
async def test_answers_are_compressed(size: int) -> None:
    for accepted, unpack in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        response = Response(bytes(size))
        await deflate(response, accepted)
        assert response.headers["Content-Encoding"] == accepted
        assert response.headers["Vary"] == "Accept-Encoding"
        assert len(response.body) < size // 10
        assert unpack(response.body) == bytes(size)


async def test_small_answers_are_not() -> None:
    response = Response(bytes(WORTH_BYTES - 1))
    await deflate(response, "gzip")
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_plain_body_has_a_size(pack: object, over: int) -> None:
    held: list[int] = []
    body = pack(bytes(3 * MIB + over))  # type: ignore[operator]
    if over <= 0:
        assert await inflate(body, 3 * MIB, held.append) == bytes(3 * MIB + over)
        assert sum(held) == 3 * MIB + over
    else:
        with pytest.raises(RequestError, match="larger than"):
            await inflate(body, 3 * MIB, held.append)
        assert sum(held) == 3 * MIB + 1


async def test_a_bomb_is_inflated_no_further_than_it_may_be_held() -> None:
    held: list[int] = []

    def hold(count: int) -> None:
        held.append(count)
        if sum(held) > 2 * MIB:
            raise RequestError("too many bytes", 503)

    with pytest.raises(RequestError, match="too many bytes"):
        await inflate(gzip.compress(bytes(100 * MIB), 1), 1000 * MIB, hold)
    assert sum(held) <= 3 * MIB


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-gzip", "compress"])
async def test_unknown_encodings_are_refused(open_door: OpenDoor, encoding: str) -> None:
    door = await open_door()
    client = await Client.open(door)
    status, answer = await client.ask(post(1, extra=f"Content-Encoding: {encoding}\r\n") + b"a")
    assert status == 415
    assert b"Accept-Encoding: gzip, deflate" in answer
    await client.close()


async def test_inflated_bytes_are_in_flight_and_given_back(open_door: OpenDoor) -> None:
    door = await open_door(in_flight_bytes_max=100_000)
    for size, due in ((90_000, 200), (110_000, 503)):
        body = zlib.compress(bytes(size))
        client = await Client.open(door)
        head = post(len(body), extra="Content-Encoding: deflate\r\n")
        assert (await client.ask(head + body))[0] == due
        assert door.in_flight.held == 0
        await client.close()
