"""Reading a request's body within a size, a time and a rate; aiohttp bounds none of them.

A declared length is refused, or taken from the account of bytes in flight, before a byte is read;
a chunked or compressed body is cut off as soon as it grows past its limit, so a compression bomb
costs at most the limit. Chunks are counted, too: a million of one byte each would cost seconds.
"""

from __future__ import annotations

import asyncio

from aiohttp import StreamReader, hdrs, web

from sedp.daemon.http.compression import check_encoding, inflate, too_large
from sedp.daemon.http.request import Request
from sedp.errors import RequestError

CHUNKS_MAX = 16_384  # a chunked body of 16 MiB in chunks of 1 KiB
LINGER_S = 2.0  # a caller whose body was refused gets this long to read why
GRACE_S = 1.0  # before the least rate is asked for


async def read_body(request: Request, bytes_max: int, timeout_s: float) -> bytes:
    """The whole body, decompressed.

    Args:
        request: of one of our connections.
        bytes_max: most bytes, on the wire and after decompression.
        timeout_s: for all of it to arrive.

    Raises:
        RequestError: 413 too large, 408 too slow, 415 unknown encoding, 400 broken, 417 for an
            expectation other than 100-continue, 503 for too many bytes in flight.
    """
    encoding = check_encoding(request.headers.get(hdrs.CONTENT_ENCODING))
    source, content, declared = request.connection, request.content, request.content_length
    if declared is not None:
        if declared > bytes_max:
            raise too_large(bytes_max)
        source.hold(declared)
    try:
        if declared is not None and content.is_eof():
            body = content.read_nowait()  # the usual case: it came along with the head
        else:
            body = await _read(request, bytes_max, timeout_s)
    except web.RequestPayloadError as err:
        raise RequestError("the body is broken: its framing or length is wrong") from err
    return body if encoding == "identity" else await inflate(body, bytes_max, source.hold)


async def _read(request: Request, bytes_max: int, timeout_s: float) -> bytes:
    content, source = request.content, request.connection
    await _answer_expectation(request)
    parts: list[bytes] = []
    size = chunks = 0
    chunked = request.content_length is None
    loop = asyncio.get_running_loop()
    started = loop.time()
    rate = source.body_rate_min
    try:
        async with asyncio.timeout(timeout_s) as patience:
            while not content.at_eof():
                if rate:
                    due = started + min(timeout_s, GRACE_S + size / rate)
                    patience.reschedule(due)
                part, ends_chunk = await content.readchunk()
                size += len(part)
                chunks += ends_chunk
                if size > bytes_max:
                    raise too_large(bytes_max)
                if chunks > CHUNKS_MAX:
                    raise RequestError(f"more than {CHUNKS_MAX} chunks; send larger ones", 413)
                if chunked:
                    source.hold(len(part))
                parts.append(part)
    except TimeoutError as err:
        raise _too_slow(loop.time() - started, timeout_s, size, rate) from err
    return b"".join(parts)


def _too_slow(after_s: float, timeout_s: float, size: int, rate: int) -> RequestError:
    if after_s < timeout_s:
        return RequestError(
            f"the body came too slowly: {size} bytes in {after_s:.1f} s; send {rate} a second", 408
        )
    return RequestError(
        f"the body did not arrive within {timeout_s:g} s; only {size} bytes did", 408
    )


async def _answer_expectation(request: Request) -> None:
    """Ask for the body where the caller waits to be asked, as curl does with large ones."""
    expectation = request.headers.get("Expect")
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise RequestError(f"Expect {expectation[:40]!r} is not known; send 100-continue", 417)
    transport = request.connection.transport
    if transport is not None:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def linger(content: StreamReader) -> None:
    """Read on for a while, that the caller may finish sending and then read the answer.

    Closing at once would reset the connection, and the answer with it. It is not for chunked
    bodies: many small chunks would cost more than their caller may.
    """
    try:
        async with asyncio.timeout(LINGER_S):
            while not content.is_eof():
                await content.readany()
    except (TimeoutError, web.RequestPayloadError):
        pass
