"""Reading a request's body within a size and a time; aiohttp bounds neither by itself.

A declared length above the limit is refused before a byte is read; a chunked or compressed body
is cut off as soon as it grows past it, so a compression bomb costs at most the limit.
"""

from __future__ import annotations

import asyncio
import zlib

from aiohttp import web

from sedp.errors import RequestError

ZLIB_OR_GZIP = zlib.MAX_WBITS | 32  # the decompressor tells them apart by the first bytes


async def read_body(request: web.BaseRequest, bytes_max: int, timeout_s: float) -> bytes:
    """The whole body, decompressed.

    Args:
        bytes_max: most bytes, on the wire and after decompression.
        timeout_s: for all of it to arrive.

    Raises:
        RequestError: 413 too large, 408 too slow, 415 unknown encoding, 400 broken, 417 for an
            expectation other than 100-continue.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise RequestError(
            f"Content-Encoding {encoding[:40]!r} is not known; send gzip, deflate or none", 415
        )
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    try:
        body = await _read(request, bytes_max, timeout_s)
    except web.RequestPayloadError as err:
        raise RequestError("the body is broken: its framing or length is wrong") from err
    return body if encoding == "identity" else _inflate(body, bytes_max)


async def _read(request: web.BaseRequest, bytes_max: int, timeout_s: float) -> bytes:
    content = request.content
    if content.is_eof():  # the usual case: it came along with the head
        return _checked(content.read_nowait(), bytes_max)
    await _answer_expectation(request)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while part := await content.readany():
                size += len(part)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                parts.append(part)
    except TimeoutError as err:
        raise RequestError(
            f"the body did not arrive within {timeout_s:g} s; only {size} bytes did", 408
        ) from err
    return b"".join(parts)


async def _answer_expectation(request: web.BaseRequest) -> None:
    """Ask for the body where the caller waits to be asked, as curl does with large ones."""
    expectation = request.headers.get("Expect")
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise RequestError(f"Expect {expectation[:40]!r} is not known; send 100-continue", 417)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the response proper has not begun


def _checked(body: bytes, bytes_max: int) -> bytes:
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


def _inflate(body: bytes, bytes_max: int) -> bytes:
    inflater = zlib.decompressobj(ZLIB_OR_GZIP)
    try:
        plain = inflater.decompress(body, bytes_max + 1)
    except zlib.error as err:
        raise RequestError("the compressed body is broken; send zlib (deflate) or gzip") from err
    if len(plain) > bytes_max:
        raise _too_large(bytes_max)
    if not inflater.eof or inflater.unused_data:
        raise RequestError("the compressed body is cut short, or more follows it")
    return plain


def _too_large(bytes_max: int) -> RequestError:
    return RequestError(
        f"the body is larger than {bytes_max} bytes; send fewer rows a request, or raise "
        "daemon.body_bytes_max",
        413,
    )
