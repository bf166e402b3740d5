"""Request smuggling through real proxies (`SEDP_PROXIED=10000`): no parser pair may disagree."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hostile.connection import exchange
from tests.hostile.counts import count, dice
from tests.hostile.frame import (
    BODY,
    CANARY,
    CANARY_ID,
    CHUNKED,
    SMUGGLED_ID,
    Frame,
    chunked,
    post,
)
from tests.hostile.framing_grammar import FRAMES
from tests.hostile.proxies import COMMANDS, ID_PREFIX, in_front_of, program
from tests.hostile.responses import NotHttp, read_all
from tests.hostile.served import Address, Served, serve_naively

COUNT = count("PROXIED", 300)
AT_ONCE = 4
PATIENCE_S = 0.05
VICTIM = CANARY.replace(CANARY_ID, b"victim")
# A proxy answers these itself, at length, and the server behind it never sees them.
SLOW = {"long_lines", "many_headers"}
KINDS = [make for make in FRAMES if make.__name__ not in SLOW]


def desyncs(proxy: Address, frames: Iterable[Frame]) -> list[str]:
    """Responses to requests that the proxy never passed on, or to somebody else's."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [found for some in pool.map(lambda f: _look(proxy, f), frames) for found in some]


def _look(proxy: Address, frame: Frame) -> list[str]:
    attack = exchange(proxy, frame.sent + CANARY, PATIENCE_S)
    victim = exchange(proxy, VICTIM, 10.0)
    found = [f"{frame.sent[:300]!r}: {fault}" for fault in _foreign(attack, frame.to_head)]
    if not victim.endswith(b'{"live":true}'):
        found.append(f"{frame.sent[:300]!r}: the next caller got {victim[:200]!r}")
    return found + _foreign(victim)


def _foreign(stream: bytes, to_head: tuple[int, ...] = ()) -> list[str]:
    try:
        responses = read_all(stream, to_head)
    except NotHttp:
        return []  # HTTP/0.9 and the like: the proxy's own words
    ids = [response.header("x-request-id") for response in responses]
    return [f"an answer to {id_!r}" for id_ in ids if id_ and not id_.startswith(ID_PREFIX)]


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_smuggled_through_a_proxy(served: Served, tmp_path: Path, name: str) -> None:
    if program(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install nginx-light haproxy")
    rolls = dice("PROXIED")
    frames = (KINDS[number % len(KINDS)](rolls) for number in range(COUNT))
    with in_front_of(served, name, tmp_path) as proxy:
        assert desyncs(proxy, frames) == []
    assert served.is_alive


def test_a_trailer_is_not_passed_on_to_the_next_caller(served: Served, tmp_path: Path) -> None:
    """HAProxy passes trailers on, and lets callers share its connections to the server."""
    if program("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    trailer = b"X-Request-Id: " + SMUGGLED_ID + b"\r\n\r\n"
    frames = [Frame(post(CHUNKED, body=chunked(BODY)[:-2] + trailer))] * 4
    with in_front_of(served, "haproxy", tmp_path) as proxy:
        assert desyncs(proxy, frames) == []


def test_a_server_that_disagrees_with_its_proxy_is_found(tmp_path: Path) -> None:
    """The naive server knows no chunks, and takes what is in them for the next request."""
    if program("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    inside = b"GET /v2 HTTP/1.1\r\nX-Request-Id: " + SMUGGLED_ID + b"\r\n\r\n"
    frames = [Frame(post(CHUNKED, body=chunked(inside, BODY)))] * 20
    with serve_naively(tmp_path) as naive, in_front_of(naive, "haproxy", tmp_path) as proxy:
        assert desyncs(proxy, frames)
