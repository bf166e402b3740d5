"""Whatever bytes come as a message, the answer is never INTERNAL, and the server lives on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import DTYPES
from sedp.daemon.grpc.messages import SERVICE as DESCRIPTOR
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.request import Translator
from sedp.daemon.grpc.wire import cut, join, nest
from sedp.daemon.oip.request import RequestReader
from sedp.errors import RequestError

from . import wire
from .grpc_front import INFER, SERVICE, call, request, serving

MUTANTS = 1_500
FIELDS_MAX = 100
X = {"x": ("FP32", np.array([0.5, -1.25, 3e8], np.float32))}
PARAMETERS = {"timeout": {"int64_param": 10**6}, "priority": {"uint64_param": 1}}
TYPED = {"name": "x", "datatype": "FP32", "shape": [2], "contents": {"fp32_contents": [1.0, 2.0]}}
SEEDS = (
    request(X),
    request(X, id="id", parameters=PARAMETERS, outputs=[{"name": "y"}]),
    request({}, inputs=[TYPED]),
    request({"v": ("BYTES", np.array([b"one", b"two"], object))}, "bytes"),
)
PLANNED = {
    StatusCode.OK,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.DEADLINE_EXCEEDED,
}
METHODS = DESCRIPTOR.methods
Request = message_class("ModelInferRequest")
Response = message_class("ModelInferResponse")


def mutate(dice: random.Random, message: bytes) -> bytes:
    """A message with a few bytes flipped, dropped, doubled, or put in from elsewhere."""
    mutant = bytearray(message)
    for _ in range(dice.randint(1, 4)):
        at, size = dice.randrange(len(mutant) + 1), dice.randint(1, 8)
        match dice.randrange(6):
            case 0:
                mutant[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del mutant[at : at + size]
            case 2:
                mutant[at:at] = dice.randbytes(size)
            case 3:
                mutant[at:at] = mutant[at : at + 4 * size]
            case 4:
                mutant[at : at + 1] = b"\xff" * size + b"\x7f"  # a length, perhaps, beyond all
            case 5:
                mutant[at:] = dice.choice(SEEDS)[dice.randrange(20) :]
    return bytes(mutant)


def mutants() -> Iterator[bytes]:
    dice = random.Random(20)
    return (mutate(dice, dice.choice(SEEDS)) for _ in range(MUTANTS))


names = st.sampled_from(["x", "y", "v", "", "timeout", "priority", "sequence_id"])
parameters: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    names,
    st.one_of(
        st.builds(dict, int64_param=st.integers(-(2**63), 2**63 - 1)),
        st.builds(dict, double_param=st.floats()),
        st.builds(dict, string_param=st.text(max_size=5)),
        st.just({}),
    ),
    max_size=3,
)
items: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    name=names,
    datatype=st.sampled_from([*DTYPES, "", "FP33"]),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=4),
    parameters=parameters,
    contents=st.none()
    | st.builds(dict, fp32_contents=st.lists(st.floats(width=32), max_size=4))
    | st.builds(dict, int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)),
)
structured = st.builds(
    request,
    st.just({}),
    names,
    id=st.text(max_size=5),
    parameters=parameters,
    inputs=st.lists(items, max_size=3),
    outputs=st.lists(st.builds(dict, name=names, parameters=parameters), max_size=2),
    raw_input_contents=st.lists(st.binary(max_size=16), max_size=3),
)
messages = st.one_of(
    structured,
    st.binary(max_size=200),
    st.builds(mutate, st.integers(0, 2**32).map(random.Random), st.sampled_from(SEEDS)),
)


@settings(max_examples=500)
@given(messages)
def test_cutting_finds_the_tensors_that_protobuf_finds(message: bytes) -> None:
    try:
        head, tensors = cut(message, FIELDS_MAX)
    except RequestError:
        return  # refusing more is allowed: groups, which proto3 has not
    try:
        expected = Request.FromString(message)
    except DecodeError:
        with pytest.raises(DecodeError):
            Request.FromString(head)
        return
    assert list(tensors) == list(expected.raw_input_contents)
    rest = Request.FromString(head)
    assert not rest.raw_input_contents
    del expected.raw_input_contents[:]
    in_order = {"deterministic": True}  # unequal are NaNs, but not their bytes
    assert rest.SerializeToString(**in_order) == expected.SerializeToString(**in_order)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_fields_are_counted_before_protobuf_sees_them(more: int) -> None:
    message = b"\x2a\x00" * (FIELDS_MAX + more)  # inputs with nothing in them
    if more > 0:
        with pytest.raises(RequestError, match="over 100 fields") as caught:
            cut(message, FIELDS_MAX)
        assert caught.value.status == 413
    else:
        assert cut(message, FIELDS_MAX) == (message, ())


@given(st.lists(st.binary(max_size=300), max_size=5), st.text(max_size=20))
def test_joining_is_what_protobuf_would_write(tensors: list[bytes], name: str) -> None:
    whole = Response(model_name=name, raw_output_contents=tensors)
    head = Response(model_name=name).SerializeToString()
    assert join(head, tensors) == whole.SerializeToString()
    outer = message_class("ModelStreamInferResponse")
    nested = outer(infer_response=whole).SerializeToString()
    assert nest(2, whole.SerializeToString()) == nested


@settings(max_examples=500)
@given(messages)
def test_every_message_is_translated_or_refused(message: bytes) -> None:
    reader = RequestReader(wire.pipeline({"x": "FP32[n]"}, {"y": "FP32[n]"}), 64)
    with suppress(RequestError):
        head, body = Translator(64).read(message)
        reader.read(body, str(len(head.json)))


@pytest.mark.slow
async def test_no_mutant_is_an_internal_error() -> None:
    methods = [method.name for method in METHODS if not method.client_streaming]
    dice = random.Random(7)
    seen: set[StatusCode] = set()
    async with serving() as (front, channel):

        async def send(message: bytes) -> None:
            method = dice.choice(["ModelInfer"] * 12 + methods)
            reply = await call(channel, f"/{SERVICE}/{method}", message, timeout=20)
            assert reply.code in PLANNED, (method, message, reply)
            seen.add(reply.code)

        for batch in grouped(mutants(), 50):
            await asyncio.gather(*map(send, batch))
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(mutants())
        answers = [message async for message in stream]
        assert len(answers) == MUTANTS
        assert (await call(channel, INFER, request(X))).code is StatusCode.OK
        assert 500 not in front.plane.statistics().responses
    assert {StatusCode.OK, StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND} <= seen


def grouped(items: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
