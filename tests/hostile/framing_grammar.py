"""Requests on which an HTTP server and whatever stands in front of it could disagree.

Where the protocol leaves no choice a case says so. Every case is followed by a canary, a good
request that is only answered when the connection went on; and wherever a second parser might see
another request inside a body there is one, whose id must never come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tests.hostile import framing_bodies as bodies
from tests.hostile import framing_heads as heads
from tests.hostile.frame import Frame

FRAMES: list[Callable[[Random], Frame]] = [
    heads.length_and_coding, heads.bad_coding, heads.odd_coding, heads.bad_name,
    heads.two_lengths, heads.bad_length, heads.long_length, heads.bare_line_end, heads.folded,
    heads.control_in_value, heads.bad_start_line, heads.bad_version, heads.odd_hosts,
    bodies.bad_chunk_size, bodies.huge_chunk, bodies.bad_chunk_end, bodies.chunk_extension,
    bodies.tiny_chunks, bodies.trailers, heads.many_headers, heads.long_lines, bodies.pipelined,
    heads.odd_methods, heads.head_requests, bodies.body_of_get, heads.odd_connection,
    bodies.expectations, heads.odd_targets, bodies.spoiled, bodies.cut, bodies.not_http,
]  # fmt: skip


def frames(dice: Random, count: int) -> Iterator[tuple[str, Frame]]:
    """Every kind in turn."""
    for number in range(count):
        make = FRAMES[number % len(FRAMES)]
        yield make.__name__, make(dice)
