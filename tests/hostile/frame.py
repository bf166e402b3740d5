"""Bytes for one connection, and what they are made of."""

from __future__ import annotations

from typing import NamedTuple

from tests.hostile.case import Must

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
INFER = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\n"
SMUGGLED_ID = b"smuggled"
CANARY_ID = b"canary"
SMUGGLED = b"GET /v2 HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + SMUGGLED_ID + b"\r\n\r\n"
CANARY = (
    b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: "
    + CANARY_ID
    + b"\r\n\r\n"
)


class Frame(NamedTuple):
    """Bytes for one connection.

    Args:
        must: what becomes of the first request.
        answers: how many requests are in it when none is refused; 0 when nobody can say.
        to_head: positions of HEAD requests.
        is_cut: it is not complete, and a server may close without a word.
    """

    sent: bytes
    must: Must = Must.EITHER
    answers: int = 0
    to_head: tuple[int, ...] = ()
    is_cut: bool = False


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return INFER + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"


def put_number(form: bytes, value: int) -> bytes:
    """`value` in all places of `form`, in its notation."""
    holes = form.count(b"%d") + form.count(b"%x") + form.count(b"%016x")
    return form % ((value,) * holes)
