"""Heads of requests that two parsers may read in two ways."""

from __future__ import annotations

from random import Random

from tests.hostile.case import Must
from tests.hostile.frame import (
    BODY,
    LENGTH,
    SMUGGLED,
    Frame,
    chunked,
    post,
    put_number,
)

CODINGS_BAD = [
    b"xchunked", b"chunked, identity", b"chunked, chunked", b'"chunked"', b"chunked;q=1",
    b"\x0bchunked", b"chunke", b"chunked\x00", b"chu nked", b"chunked,", b"gzip", b"identity",
    b"CHUNKED, gzip", b"\xc4\xa7chunked", b"chunked\r\nTransfer-Encoding: identity",
    b"identity\r\nTransfer-Encoding: chunked",
]  # fmt: skip
CODINGS_SPACED = [
    b"Chunked",
    b",chunked",
    b" chunked",
    b"chunked ",
    b"\tchunked",
    b"chunked\t",
    b"CHUNKED",
]
NAMES_BAD = [
    b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer-Encoding\t",
    b"Transfer-Encoding\x00", b"Transfer Encoding", b"Transfer-Encoding\x0b", b"\xe2\x84\xaaey",
    b"Content-Length ", b"", b"A\x7f", b"(", b"A\xff",
]  # fmt: skip
LENGTHS_BAD = [
    b"+%d", b"-%d", b"0x%d", b"%d.0", b"%d, %d", b"%d %d", b"%d,", b"%d;", b"'%d'", b"%de0",
    b"%d_0", b"", b"\xd9\xa5", b"\xb2", b"nan", b"%d\x00", b"%d\x0b", b"18446744073709551616%d",
    b"4294967296%d9999999999999",
]  # fmt: skip
VERSIONS_BAD = [
    b"HTTP/1.2", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.10", b"HTTP/11.1", b"http/1.1", b"HTTP/1.1x",
    b"HTTP/1", b"HTTP/1,1", b"HTTP /1.1", b"HTTP/01.1", b"HTTP/\xd9\xa1.1", b"ICY/1.1",
    b"HTTPS/1.1", b"", b"HTTP/1.1 HTTP/1.1",
]  # fmt: skip


def length_and_coding(dice: Random) -> Frame:
    """Both say how long the body is, and disagree: the classic of request smuggling."""
    inside = dice.choice([chunked() + SMUGGLED, chunked(BODY) + SMUGGLED, chunked(SMUGGLED)])
    length = b"Content-Length: %d" % dice.choice([len(inside), 4, 0, len(inside) - len(SMUGGLED)])
    coding = b"Transfer-Encoding: " + dice.choice([b"chunked"] * 3 + CODINGS_SPACED)
    lines = [length, coding]
    dice.shuffle(lines)
    return Frame(post(*lines, body=inside), Must.REFUSE)


def bad_coding(dice: Random) -> Frame:
    """A coding that one parser takes for chunked, and another one does not."""
    line = b"Transfer-Encoding: " + dice.choice(CODINGS_BAD)
    lines = [line, b"Content-Length: 4"] if dice.random() < 0.3 else [line]
    return Frame(post(*lines, body=chunked(BODY) + SMUGGLED), Must.REFUSE)


def odd_coding(dice: Random) -> Frame:
    coding = b"Transfer-Encoding: " + dice.choice(CODINGS_SPACED)
    return Frame(post(coding, body=chunked(BODY)), Must.EITHER, 1)


def bad_name(dice: Random) -> Frame:
    return Frame(post(dice.choice(NAMES_BAD) + b": chunked", LENGTH, body=BODY), Must.REFUSE)


def two_lengths(dice: Random) -> Frame:
    other = dice.choice([0, 1, len(BODY) + len(SMUGGLED), len(BODY) - 1])
    lines = [LENGTH, b"Content-Length: %d" % other]
    dice.shuffle(lines)
    return Frame(post(*lines, body=BODY + SMUGGLED), Must.REFUSE)


def bad_length(dice: Random) -> Frame:
    value = put_number(dice.choice(LENGTHS_BAD), len(BODY))
    return Frame(post(b"Content-Length: " + value, body=BODY), Must.REFUSE)


def long_length(dice: Random) -> Frame:
    zeros = b"0" * dice.choice([1, 18, 100])
    return Frame(post(b"Content-Length: " + zeros + b"%d" % len(BODY), body=BODY), answers=1)


def bare_line_end(dice: Random) -> Frame:
    """LF or CR alone in place of one line end; some servers take LF."""
    sent = post(LENGTH, b"X-A: b", body=BODY)
    ends = [at for at in range(len(sent) - len(BODY)) if sent[at : at + 2] == b"\r\n"]
    at = dice.choice(ends[:-1])
    return Frame(sent[:at] + dice.choice([b"\n", b"\r", b"\r\r\n", b"\n\r"]) + sent[at + 2 :])


def folded(dice: Random) -> Frame:
    """A header over two lines, which nobody may send any more."""
    value = dice.choice([b"Transfer-Encoding:\r\n chunked", b"X-A: b\r\n\tc", b"X-A: b\r\n : c"])
    return Frame(post(value, body=chunked(BODY) + SMUGGLED), Must.REFUSE)


def control_in_value(dice: Random) -> Frame:
    mark = dice.choice([b"\0", b"\r", b"\x0b", b"\x7f", b"\x01", b"\x1f"])
    must = Must.REFUSE if mark in b"\0\r" else Must.EITHER
    return Frame(post(b"X-A: b" + mark + b"c", LENGTH, body=BODY), must)


def bad_start_line(dice: Random) -> Frame:
    line = dice.choice(
        [b"GET  /v2 HTTP/1.1", b"GET /v2  HTTP/1.1", b" GET /v2 HTTP/1.1", b"GET\t/v2\tHTTP/1.1",
         b"GET /v2", b"/v2 HTTP/1.1", b"GET HTTP/1.1", b"G\x00T /v2 HTTP/1.1",
         b"GET /v2\0 HTTP/1.1", b"GET /v 2 HTTP/1.1", b"G(T /v2 HTTP/1.1", b"\xff /v2 HTTP/1.1",
         b":", b"GET", b"get /v2 HTTP/1.1 x"]
    )  # fmt: skip
    return Frame(line + b"\r\nHost: a\r\n\r\n")


def bad_version(dice: Random) -> Frame:
    return Frame(b"GET /v2 " + dice.choice(VERSIONS_BAD) + b"\r\nHost: a\r\n\r\n")


def odd_hosts(dice: Random) -> Frame:
    hosts = dice.choice(
        [b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n", b"", b"Host:\r\n",
         b"Host: a, b\r\n", b"Host: a@b\r\n", b"Host: a/b\r\n", b"Host: \xff\r\n",
         b"Host: a:99999\r\n", b"hOsT: a\r\nHOST: b\r\n"]
    )  # fmt: skip
    return Frame(b"GET /v2 HTTP/1.1\r\n" + hosts + b"\r\n")


def many_headers(dice: Random) -> Frame:
    count = dice.choice([10, 100, 1_000, 10_000])
    line = dice.choice([b"X-A: b", b"A:", b"Cookie: a=b", b"X-%d: " % count + b"c" * 50])
    return Frame(post(*[line] * count, LENGTH, body=BODY))


def long_lines(dice: Random) -> Frame:
    size = dice.choice([4_000, 8_180, 8_192, 9_000, 70_000, 1_000_000])
    where = dice.randrange(4)
    if where == 0:
        return Frame(post(b"X-A: " + b"b" * size, LENGTH, body=BODY))
    if where == 1:
        return Frame(post(b"X" * size + b": b", LENGTH, body=BODY))
    if where == 2:
        return Frame(b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    return Frame(b"G" * size + b" /v2 HTTP/1.1\r\nHost: a\r\n\r\n")


def odd_methods(dice: Random) -> Frame:
    method = dice.choice(
        [b"PUT", b"DELETE", b"PATCH", b"TRACE", b"OPTIONS", b"PROPFIND", b"get", b"PRI",
         b"M-SEARCH", b"A" * 1_000, b"SOURCE", b"post", b"PosT"]
    )  # fmt: skip
    return Frame(method + b" /v2 HTTP/1.1\r\nHost: a\r\n\r\n")


def head_requests(dice: Random) -> Frame:
    paths = [
        b"/v2",
        b"/v2/health/ready",
        b"/nothing",
        b"/v2/models/double",
        b"/v2/models/double/infer",
    ]
    line = b"HEAD " + dice.choice(paths) + b" HTTP/1.1\r\nHost: a\r\n"
    if dice.random() < 0.3:
        return Frame(line + b"Content-Length: 5\r\n\r\n12345", to_head=(0,))
    return Frame(line + b"\r\n", answers=1, to_head=(0,))


def odd_connection(dice: Random) -> Frame:
    header = dice.choice(
        [b"Connection: close, keep-alive", b"Connection: Content-Length",
         b"Connection: upgrade\r\nUpgrade: h2c",
         b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
         b"Upgrade: tcp", b"Connection: X-Request-Id", b"Keep-Alive: timeout=999999",
         b"Connection: \xff", b"TE: trailers, deflate"]
    )  # fmt: skip
    return Frame(post(header, LENGTH, body=BODY))


def odd_targets(dice: Random) -> Frame:
    target = dice.choice(
        [b"*", b"http://a/v2", b"http://b:1/v2", b"//v2", b"/v2?a=b", b"/v2#a", b"/v2;a",
         b"/%76%32", b"a:1", b"?", b"http://", b"http://[", b"http://a:b@c/v2", b"/v2/../v2",
         b"/./v2", b"/v2/%2e%2e", b"\\v2", b"/\xff", b"file:///v2"]
    )  # fmt: skip
    return Frame(
        dice.choice([b"GET ", b"OPTIONS ", b"CONNECT "]) + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    )
