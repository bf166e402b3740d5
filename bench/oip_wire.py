"""Recorded requests as bytes on the wire, HTTP head and all, and replies back to columns."""

from __future__ import annotations

import re

from bench.ctr_rank_wire import post
from sedp.columns import Array
from sedp.simulator.oip_client import LENGTH_HEADER, RequestEncoder, TensorMetadata, decode_answer
from sedp.simulator.recording import Recording

HEAD_BYTES = re.compile(LENGTH_HEADER.encode() + rb": *(\d+)", re.IGNORECASE)
PROMO_RANK_INPUTS = [
    TensorMetadata("household_id", "INT64", (1, 1)),
    TensorMetadata("store_id", "INT64", (1, 1)),
    TensorMetadata("week", "INT64", (1, 1)),
    TensorMetadata("product_id", "INT64", (1, -1)),
]


def encode(
    recording: Recording, pipeline: str, inputs: list[TensorMetadata] = PROMO_RANK_INPUTS
) -> list[bytes]:
    """Each of the recorded requests as bytes to be sent."""
    encoder = RequestEncoder(recording, inputs)
    posts = []
    for request in range(len(recording)):
        headers, body = encoder.encode(request)
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        posts.append(post(f"/v2/models/{pipeline}/infer", body, extra))
    return posts


def decode(reply: bytes) -> dict[str, Array]:
    """The columns of a whole reply with status 200."""
    head, _, body = reply.partition(b"\r\n\r\n")
    length = HEAD_BYTES.search(head)
    return decode_answer({LENGTH_HEADER: length[1].decode() if length else ""}, body)
