"""Bad requests over real sockets: always a 4xx with a JSON error, never a hang, never a death."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from typing import Any

import aiohttp
import pytest

from . import wire
from .calls import GOOD, X, converse, infer_url
from .conftest import StartDaemon


def changed(**fields: Any) -> bytes:
    """The good request with one input's fields changed."""
    item = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **fields}
    return json.dumps({"inputs": [item]}).encode()


def truncated_binary() -> tuple[bytes, dict[str, str]]:
    body, length = wire.request(X, binary=True)
    return body[:-1], {wire.LENGTH: length or ""}


LENGTH = wire.LENGTH
NUMBER = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [%s]}]}'

BAD: dict[str, tuple[bytes, dict[str, str]]] = {
    "unknown name": (changed(name="xx"), {}),
    "other datatype": (changed(datatype="FP64"), {}),
    "no datatype": (changed(datatype="NONSENSE"), {}),
    "other shape": (changed(shape=[3]), {}),
    "other rank": (changed(shape=[2, 1]), {}),
    "rank 1000": (changed(shape=[1] * 1000), {}),
    "negative size": (changed(shape=[-2]), {}),
    "no rows": (changed(shape=[0], data=[]), {}),
    "2**31 rows": (changed(shape=[2**31]), {}),
    "2**63 rows": (changed(shape=[2**63]), {}),
    "size that overflows to 2": (changed(shape=[2**64 + 2]), {}),
    "string for a number": (changed(data=[1, "2"]), {}),
    "null for a number": (changed(data=[1, None]), {}),
    "too large for FP32": (changed(data=[1, 1e300]), {}),
    "negative binary size": (changed(parameters={"binary_data_size": -1}), {}),
    "NaN": (NUMBER % b"NaN", {}),
    "1e999": (NUMBER % b"1e999", {}),
    "million brackets": (b"[" * 1_000_000, {}),
    "million brackets in inputs": (b'{"inputs": ' + b"[" * 1_000_000, {}),
    "million objects": (b'{"inputs": [], "x": ' + b'{"a":' * 1_000_000, {}),
    "nothing": (b"", {}),
    "null": (b"null", {}),
    "byte order mark": (b"\xef\xbb\xbf{}", {}),
    "zeros": (b"\x00" * 100, {}),
    "huge length": (GOOD, {LENGTH: "9" * 40}),
    "negative length": (GOOD, {LENGTH: "-1"}),
    "length in words": (GOOD, {LENGTH: "x"}),
    "short length": (GOOD, {LENGTH: "10"}),
    "truncated binary": truncated_binary(),
    "unknown encoding": (GOOD, {"Content-Encoding": "br"}),
    "not compressed": (GOOD, {"Content-Encoding": "gzip"}),
    "truncated gzip": (gzip.compress(GOOD)[:-5], {"Content-Encoding": "gzip"}),
    "more than gzip": (gzip.compress(GOOD) + b"more", {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize(("body", "headers"), BAD.values(), ids=BAD.keys())
async def test_bad_requests_get_a_4xx_and_hurt_nobody(
    start_daemon: StartDaemon,
    http: aiohttp.ClientSession,
    body: bytes,
    headers: dict[str, str],
) -> None:
    daemon = await start_daemon()
    async with http.post(infer_url(daemon), data=io.BytesIO(body), headers=headers) as response:
        assert 400 <= response.status < 500
        assert (await response.json()).keys() == {"error"}
    async with http.post(infer_url(daemon), data=GOOD) as response:
        assert response.status == 200


def padded(size: int) -> bytes:
    """A good request of exactly `size` bytes."""
    return GOOD + b" " * (size - len(GOOD))


async def pieces(body: bytes) -> Any:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


@pytest.mark.parametrize(("size", "status"), [(2047, 200), (2048, 200), (2049, 413)])
@pytest.mark.parametrize("form", ["whole", "chunked", "gzip", "deflate"])
async def test_bodies_are_limited(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, size: int, status: int, form: str
) -> None:
    daemon = await start_daemon(body_bytes_max=2048)
    data: Any = padded(size)
    headers = {}
    if form == "chunked":
        data = pieces(data)
    elif form != "whole":
        data = (gzip if form == "gzip" else zlib).compress(data)
        headers = {"Content-Encoding": form}
    async with http.post(infer_url(daemon), data=data, headers=headers) as response:
        assert response.status == status
        assert status == 200 or "larger than 2048 bytes" in (await response.json())["error"]


@pytest.mark.parametrize(("size", "status"), [(2048, b"200"), (2049, b"413")])
async def test_bodies_that_come_in_parts_are_limited(
    start_daemon: StartDaemon, size: int, status: bytes
) -> None:
    daemon = await start_daemon(body_bytes_max=2048)
    host, port = daemon.data_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (size, padded(size)))
    assert (await reader.readline()).split()[1] == status
    writer.close()
    await writer.wait_closed()


async def test_a_declared_length_is_refused_before_the_body_is_read(
    start_daemon: StartDaemon,
) -> None:
    daemon = await start_daemon(body_bytes_max=2048)
    head = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n"
    for more in (b"\r\n", b"Expect: 100-continue\r\n\r\n"):
        answer, _ = await converse(daemon, head + more)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"Connection: close" in answer


async def test_a_bomb_costs_no_more_than_the_limit(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon(body_bytes_max=2048)
    bomb = gzip.compress(b" " * 1_000_000)
    assert len(bomb) < 2048
    headers = {"Content-Encoding": "gzip"}
    async with http.post(infer_url(daemon), data=bomb, headers=headers) as response:
        assert response.status == 413


async def test_a_slow_body_gets_408(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon(body_timeout_ns=50_000_000)
    head = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n"
    answer, body = await converse(daemon, head + GOOD[:20])
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"only 20 bytes did" in body


async def test_whoever_waits_to_be_asked_for_the_body_is_asked(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon()
    host, port = daemon.data_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GOOD)
    )
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    writer.write(GOOD)
    assert b"HTTP/1.1 200 OK" in await reader.read()
    writer.close()
    await writer.wait_closed()


INFER = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\n"
END = b"Host: a\r\nConnection: close\r\n\r\n"

BROKEN: dict[str, bytes] = {
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls hello\r\n\r\n",
    "negative length": b"GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "two framings": INFER + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown version": b"GET /v2 HTTP/9.9\r\n\r\n",
    "long path": b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 10_000),
    "long header": b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"a" * 10_000),
    "bad chunk": INFER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "unknown expectation": INFER + b"Expect: miracles\r\nContent-Length: 5\r\n\r\n",
    "two slashes": b"GET //v2 HTTP/1.1\r\n" + END,
    "absolute target": b"GET http://x/nothing HTTP/1.1\r\n" + END,
    "odd escapes": b"GET /v2/models/%ff%00 HTTP/1.1\r\n" + END,
    "star": b"OPTIONS * HTTP/1.1\r\n" + END,
    "tunnel": b"CONNECT a:1 HTTP/1.1\r\n" + END,
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
async def test_broken_http_gets_a_json_4xx(start_daemon: StartDaemon, sent: bytes) -> None:
    daemon = await start_daemon()
    head, body = await converse(daemon, sent)
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert json.loads(body).keys() == {"error"}
