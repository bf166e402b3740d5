"""Bodies, and requests behind them, whose borders two parsers may see in two places."""

from __future__ import annotations

from random import Random

from tests.hostile.case import Must
from tests.hostile.frame import (
    BODY,
    CHUNKED,
    LENGTH,
    SMUGGLED,
    SMUGGLED_ID,
    Frame,
    chunked,
    post,
    put_number,
)

SIZES_BAD = [
    b"0x%x", b"-%x", b"+%x", b"g", b"", b" %x", b"%x_", b"%x.0", b"\xd9\xa5", b"1%016x",
    b"%x\x00", b"%xh", b"%x,", b"\t%x", b"'%x'",
]  # fmt: skip


def bad_chunk_size(dice: Random) -> Frame:
    size = put_number(dice.choice(SIZES_BAD), len(BODY))
    return Frame(
        post(CHUNKED, body=size + b"\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED), Must.REFUSE
    )


def huge_chunk(dice: Random) -> Frame:
    """A size that is valid and will never be there; what follows is not a request."""
    size = dice.choice(
        [b"FFFFFFFFFFFFFFFF", b"8000000000000000", b"7FFFFFFFFFFFFFFF", b"100000000"]
    )
    body = size + b"\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED
    return Frame(post(CHUNKED, body=body), Must.REFUSE, is_cut=True)


def bad_chunk_end(dice: Random) -> Frame:
    """A chunk that is longer or shorter than it says, or whose lines end oddly."""
    size = b"%x" % len(BODY)
    body = dice.choice(
        [size + b"\r\n" + BODY + b"X\r\n0\r\n\r\n", size + b"\r\n" + BODY + b"0\r\n\r\n",
         size + b"\r\n" + BODY + b"\n\n0\r\n\r\n", size + b"\r\n" + BODY[:-1] + b"\r\n0\r\n\r\n",
         size + b"\r" + BODY + b"\r\n0\r\n\r\n", size + b"\r\n" + BODY + b"\r0\r\n\r\n"]
    )  # fmt: skip
    return Frame(post(CHUNKED, body=body + SMUGGLED), Must.REFUSE)


def chunk_extension(dice: Random) -> Frame:
    """Extensions are allowed and mean nothing; with a bare LF in them they are a known trick."""
    size = b"%x" % len(BODY)
    if dice.random() < 0.5:
        length = dice.choice([1, 100, 5_000, 100_000])
        extended = size + b";" + dice.choice([b"a", b"a=b;", b'a="b";']) * length
        return Frame(post(CHUNKED, body=extended + b"\r\n" + BODY + b"\r\n0\r\n\r\n"))
    trick = dice.choice([b";\n", b";a\nxx", b";a\rb", b" ;a\n", b"\n;", b";a\0b"])
    return Frame(post(CHUNKED, body=size + trick + b"\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED))


def tiny_chunks(dice: Random) -> Frame:
    count = 1_000_000 if dice.random() < 0.01 else dice.choice([1, 10, 1_000])
    spaces = b"1\r\n \r\n" * count
    return Frame(post(CHUNKED, body=spaces + chunked(BODY)), answers=1 if count <= 10 else 0)


def trailers(dice: Random) -> Frame:
    count = 10_000 if dice.random() < 0.02 else dice.choice([1, 10, 200])
    line = dice.choice(
        [b"X-A: b\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
         b"X-Request-Id: " + SMUGGLED_ID + b"\r\n", b"bad\r\n", b"X-A: " + b"b" * 500 + b"\r\n"]
    )  # fmt: skip
    return Frame(post(CHUNKED, body=chunked(BODY)[:-2] + line * count + b"\r\n"))


def body_of_get(dice: Random) -> Frame:
    """A body where nobody wants one must not become the next request."""
    line = dice.choice([b"GET /v2", b"GET /nothing", b"DELETE /v2", b"POST /nothing", b"POST /v2"])
    inside = b"Content-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED)
    if dice.random() < 0.5:
        inside = CHUNKED + b"\r\n\r\n" + chunked(SMUGGLED)
    return Frame(line + b" HTTP/1.1\r\nHost: a\r\n" + inside)


def expectations(dice: Random) -> Frame:
    value = dice.choice(
        [b"100-continue", b"100-Continue", b"x", b"", b"100-continue, x", b"200-ok"]
    )
    framing = dice.choice([(LENGTH, BODY), (CHUNKED, chunked(BODY))])
    return Frame(post(b"Expect: " + value, framing[0], body=framing[1]))


def pipelined(dice: Random) -> Frame:
    """Many requests at once: each is answered, in order."""
    count = 10_000 if dice.random() < 0.02 else dice.choice([2, 10, 100])
    get = b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n"
    one = dice.choice(
        [get, post(LENGTH, body=BODY), post(CHUNKED, body=chunked(BODY[:9], BODY[9:]))]
    )
    return Frame(one * count, Must.ACCEPT, count)


def spoiled(dice: Random) -> Frame:
    """A good request with some bytes gone, doubled or flipped."""
    sent = bytearray(dice.choice([post(LENGTH, body=BODY), post(CHUNKED, body=chunked(BODY))]))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(sent))
        match dice.randrange(4):
            case 0:
                del sent[at : at + dice.randint(1, 3)]
            case 1:
                sent[at] ^= 1 << dice.randrange(8)
            case 2:
                sent[at:at] = dice.choice([b"\r\n", b"\0", b" ", b"\n", b"\r", b":", b"0"])
            case _:
                sent[at:at] = sent[at : at + 20]
    return Frame(bytes(sent), is_cut=True)


def cut(dice: Random) -> Frame:
    sent = dice.choice([post(LENGTH, body=BODY), post(CHUNKED, body=chunked(BODY))])
    return Frame(sent[: dice.randrange(len(sent))], is_cut=True)


def not_http(dice: Random) -> Frame:
    sent = dice.choice(
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n", b"\0" * 50,
         b"\r\n" * 50, b"\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
         bytes(dice.randrange(256) for _ in range(99)), b" " * 9_000, b"GET"]
    )  # fmt: skip
    return Frame(sent, is_cut=True)
