"""Bodies that are small on the wire and large behind the decoder.

A run of equal bytes is compressed once, a MiB of it, and repeated: a GiB takes no longer to build
than its checksum.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

import brotli

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = [KIB, 64 * KIB, MIB, 15 * MIB, 16 * MIB, 17 * MIB, 64 * MIB, 256 * MIB, GIB]
HEAD = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":['
GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


class Bomb(NamedTuple):
    """A body, what it claims to be, and how many bytes would come out."""

    kind: str
    encoding: str
    body: bytes
    plain_bytes: int


def _flushed(text: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(text) + deflater.flush(zlib.Z_FULL_FLUSH)


@functools.lru_cache
def _parts(size: int, fill: bytes) -> tuple[bytes, int, int, int]:
    """Raw deflate data of a JSON head and a run, without its end; CRC-32, Adler-32, plain size."""
    block = fill * (min(size, MIB) // len(fill))
    count = max(1, size // MIB)
    crc, adler = zlib.crc32(HEAD), zlib.adler32(HEAD)
    for _ in range(count):
        crc, adler = zlib.crc32(block, crc), zlib.adler32(block, adler)
    return _flushed(HEAD) + _flushed(block) * count, crc, adler, len(HEAD) + len(block) * count


END = b"\x03\x00"  # an empty last block


def gzipped(size: int, fill: bytes) -> bytes:
    data, crc, _, plain_bytes = _parts(size, fill)
    return GZIP_HEAD + data + END + struct.pack("<II", crc, plain_bytes)


def deflated(size: int, fill: bytes) -> bytes:
    data, _, adler, _ = _parts(size, fill)
    return b"\x78\xda" + data + END + struct.pack(">I", adler)


def raw_deflated(size: int, fill: bytes) -> bytes:
    return _parts(size, fill)[0] + END


def zstandard(size: int, fill: bytes) -> bytes:
    """A frame of run-length blocks: 4 bytes for every 128 KiB."""
    blocks = max(1, size >> 17)
    block = struct.pack("<I", (1 << 17) << 3 | 1 << 1)[:3] + fill[:1]
    last = struct.pack("<I", 1 << 3 | 1 << 1 | 1)[:3] + fill[:1]
    return b"\x28\xb5\x2f\xfd\x00\x70" + block * blocks + last


@functools.lru_cache
def brotlied(size: int, fill: bytes) -> bytes:
    compressed: bytes = brotli.compress(fill * (min(size, 64 * MIB) // len(fill)), quality=5)
    return compressed


def nested(size: int, fill: bytes) -> bytes:
    """What comes out is compressed again, so that the outermost layer is tiny."""
    inner = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return inner.compress(gzipped(size, fill)) + inner.flush()


def concatenated(size: int, fill: bytes) -> bytes:
    """Many members, each of them harmless."""
    return gzipped(min(size, MIB), fill) * max(1, min(size // MIB, 1_000))


def named(size: int, fill: bytes) -> bytes:
    """A file name in the header that never ends."""
    return GZIP_HEAD[:3] + b"\x08" + GZIP_HEAD[4:] + b"a" * min(size, MIB) + b"\0" + END


def lying(size: int, fill: bytes) -> bytes:
    """Says that nothing comes out."""
    return gzipped(size, fill)[:-8] + b"\0" * 8


def cut_short(size: int, fill: bytes) -> bytes:
    return gzipped(size, fill)[:-20]


KINDS: dict[str, tuple[list[str], Callable[[int, bytes], bytes]]] = {
    "gzip": (["gzip", "GZIP", "deflate"], gzipped),
    "deflate": (["deflate", "gzip"], deflated),
    "raw deflate": (["deflate"], raw_deflated),
    "br": (["br"], brotlied),
    "zstd": (["zstd"], zstandard),
    "nested": (["gzip", "gzip, gzip", "gzip\r\nContent-Encoding: gzip"], nested),
    "concatenated": (["gzip"], concatenated),
    "named": (["gzip"], named),
    "lying": (["gzip", "gzip, identity", "identity", "x-gzip"], lying),
    "cut short": (["gzip"], cut_short),
}


def bombs(dice: Random, count: int) -> Iterator[Bomb]:
    """Every kind in turn, of any size."""
    kinds = list(KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        encodings, make = KINDS[kind]
        size, fill = dice.choice(SIZES), dice.choice([b" ", b"1,", b"\0", b"[", b'{"a":{"b":'])
        yield Bomb(kind, dice.choice(encodings), make(size, fill), size)
