"""Bodies made smaller for the way: gzip and deflate, both ways, each bounded.

Inflating goes by steps and stops at a size, so a compression bomb costs what a plain body may cost.
What is large is worked on in a thread: 16 MiB take a tenth of a second, and others wait.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sedp.daemon.http.response import Response
from sedp.errors import RequestError

ZLIB_OR_GZIP = zlib.MAX_WBITS | 32  # the decompressor tells them apart by the first bytes
WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
ENCODINGS = ("identity", "gzip", "deflate")
LEVEL = 1  # answers are numbers: more effort finds little more
WORTH_BYTES = 1024  # a smaller answer fits into a packet as it is
INLINE_BYTES_MAX = 64 << 10  # about a millisecond's work
STEP_BYTES_MAX = 1 << 20  # inflated at a time, before it is held and checked
_CODING = re.compile(r"\s*([A-Za-z0-9*_-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.ASCII)
ACCEPT_CHARS_MAX = 256
# One: each thread keeps an arena of what it has inflated, and the cores have other work.
_THREAD = ThreadPoolExecutor(1, "sedp-zlib")


def check_encoding(header: str | None) -> str:
    """The one encoding of a request's body.

    Raises:
        RequestError: 415, it is none of `ENCODINGS`.
    """
    if not header:
        return "identity"
    encoding = header.strip().lower()
    if encoding not in ENCODINGS:
        raise RequestError(
            f"Content-Encoding {encoding[:40]!r} is not known; send gzip, deflate or none",
            415,
            {"Accept-Encoding": "gzip, deflate"},
        )
    return encoding


async def inflate(body: bytes, bytes_max: int, hold: Callable[[int], None]) -> bytes:
    """The plain body.

    Args:
        hold: told of bytes as they appear; may refuse them.

    Raises:
        RequestError: 400 broken or cut short, 413 more than `bytes_max` bytes.
    """
    inflater = zlib.decompressobj(ZLIB_OR_GZIP)
    parts: list[bytes] = []
    left = bytes_max + 1
    try:
        part = inflater.decompress(body, min(left, INLINE_BYTES_MAX))
        while part:
            parts.append(part)
            left -= len(part)
            hold(len(part))
            if left <= 0:
                raise too_large(bytes_max)
            step = min(left, STEP_BYTES_MAX)
            part = b""
            if not inflater.eof:
                part = await _aside(inflater.decompress, inflater.unconsumed_tail, step)
    except zlib.error as err:
        raise RequestError("the compressed body is broken; send zlib (deflate) or gzip") from err
    if not inflater.eof or inflater.unused_data:
        raise RequestError("the compressed body is cut short, or more follows it")
    return b"".join(parts)


def too_large(bytes_max: int) -> RequestError:
    return RequestError(
        f"the body is larger than {bytes_max} bytes; send fewer rows a request, or raise "
        "daemon.body_bytes_max",
        413,
    )


def choose_encoding(accepted: str) -> str:
    """What an `Accept-Encoding` header likes best: gzip, deflate, or identity.

    What is no valid header is taken for one that names nothing: plain bytes are always right.
    """
    weights: dict[str, float] = {}
    for part in accepted[:ACCEPT_CHARS_MAX].lower().split(","):
        match = _CODING.fullmatch(part)
        if match is None:
            return "identity"
        weights[match[1]] = float(match[2] or 1)
    rest = weights.get("*", 0.0)
    best = max(WINDOW_BITS, key=lambda name: weights.get(name, rest))
    weight = weights.get(best, rest)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else "identity"


async def deflate(response: Response, accepted: str) -> None:
    """Compress a response in place, if its caller likes that and it is worth the work."""
    if len(response.body) < WORTH_BYTES or "Content-Encoding" in response.headers:
        return
    encoding = choose_encoding(accepted)
    if encoding == "identity":
        return
    if len(response.body) <= INLINE_BYTES_MAX:
        response.body = _deflate(response.body, WINDOW_BITS[encoding])
    else:
        response.body = await _aside(_deflate, response.body, WINDOW_BITS[encoding])
    response.headers["Content-Encoding"] = encoding
    response.headers["Vary"] = "Accept-Encoding"


async def _aside(work: Callable[..., bytes], *arguments: Any) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(_THREAD, work, *arguments)


def _deflate(body: bytes, window_bits: int) -> bytes:
    deflater = zlib.compressobj(LEVEL, wbits=window_bits)
    return deflater.compress(body) + deflater.flush()
