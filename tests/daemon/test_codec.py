"""Property tests of the codec: what goes in comes out, and nothing but `RequestError` is raised."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sedp.columns import DTYPES, Array
from sedp.daemon.oip.request import InferenceRequest, RequestReader
from sedp.daemon.oip.response import write_response
from sedp.errors import RequestError

from . import wire

BINARY_TYPES = sorted(DTYPES)
JSON_TYPES = sorted(DTYPES.keys() - {"FP16"})


@st.composite
def tensors(draw: st.DrawFn, datatypes: list[str], text: bool) -> tuple[str, Array]:
    """A datatype and an item-level array [n, 2] of it."""
    datatype = draw(st.sampled_from(datatypes))
    shape = (draw(st.integers(1, 8)), 2)
    if datatype == "BYTES":
        items: Any = (
            st.text('aä€😀"\\,[ \x00\n', max_size=5).map(str.encode)
            if text
            else st.binary(max_size=5)
        )
        values = draw(st.lists(items, min_size=shape[0] * 2, max_size=shape[0] * 2))
        array = np.empty(len(values), object)
        array[:] = values
        return datatype, array.reshape(shape)
    dtype = DTYPES[datatype]
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return datatype, draw(hnp.arrays(dtype, shape, elements=elements))


def round_trip(datatype: str, array: Array, binary: bool) -> None:
    pipeline = wire.pipeline({"x": f"{datatype}[n, 2]"}, {"y": f"{datatype}[n, 2]"})
    parameters = {"binary_data_output": binary}
    body, length = wire.request({"x": (datatype, array)}, binary=binary, parameters=parameters)
    request = RequestReader(pipeline, 64).read(body, length)
    column = request.batch["x"]
    assert column.dtype == DTYPES[datatype]
    assert column.flags.aligned
    assert column.flags.writeable
    assert column.tolist() == array.tolist()
    answer, json_bytes = write_response(pipeline, request, {"y": column})
    back = wire.answer(answer, json_bytes)["y"]
    want = wire.tensor_values(datatype, array) if datatype == "BYTES" and not binary else None
    assert back.ravel().tolist() == (array.ravel().tolist() if want is None else want)


@settings(deadline=None)
@given(tensors(BINARY_TYPES, text=False))
def test_any_tensor_survives_the_binary_round_trip(tensor: tuple[str, Array]) -> None:
    round_trip(*tensor, binary=True)


@settings(deadline=None)
@given(tensors(JSON_TYPES, text=True))
def test_any_tensor_survives_the_json_round_trip(tensor: tuple[str, Array]) -> None:
    round_trip(*tensor, binary=False)


READER = RequestReader(
    wire.pipeline(
        {"user": "INT64[1]", "item": "INT32[n]", "vec": "FP32[1, n, 2]", "tag": "BYTES[n]"},
        {"score": "FP32[n]", "top": "INT32[2]", "half": "FP16[n]"},
    ),
    tensors_max=4,
)
GOOD: dict[str, tuple[str, Array]] = {
    "user": ("INT64", np.array([7])),
    "item": ("INT32", np.arange(3)),
    "vec": ("FP32", np.arange(6.0).reshape(1, 3, 2)),
    "tag": ("BYTES", np.array([b"a", b"", b"\xc3\xa4"], object)),
}
FIELDS: dict[str, Any] = {
    "id": "abc",
    "parameters": {"timeout": 1000, "priority": 1, "binary_data_output": True},
    "outputs": [{"name": "score", "parameters": {"binary_data": False}}, {"name": "top"}],
}

SIZES = st.sampled_from([-1, 0, 1, 3, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, 10**4200])
odd_values = st.recursive(
    st.none()
    | st.booleans()
    | SIZES
    | st.floats()
    | st.text('aä"', max_size=4)
    | st.sampled_from(["INT64", "FP32", "BYTES", "user", "tag", "Score", "1e999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON tree."""
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    found = [(tree, key) for key in keys]
    return found + [
        p for key in keys if isinstance(tree[key], dict | list) for p in places(tree[key])
    ]


def read(body: bytes, length: str | None) -> InferenceRequest | RequestError:
    """Whatever else is raised fails the test."""
    try:
        return READER.read(body, length)
    except RequestError as err:
        return err


def expect_answer_or_request_error(body: bytes, length: str | None) -> None:
    result, again = read(body, length), read(body, length)
    assert type(result) is type(again)
    if isinstance(result, RequestError):
        assert str(result) == str(again)
        assert 400 <= result.status < 500
        assert 0 < len(str(result)) < 1000
        return
    assert result.batch.splits.tolist() == [0, result.batch.row_count]
    assert 1 <= result.batch.row_count <= 8
    assert result.batch.columns.keys() == GOOD.keys()


def test_the_good_request_is_good() -> None:
    for binary in (False, True):
        request = READER.read(*wire.request(GOOD, binary=binary, **FIELDS))
        assert request.batch.row_count == 3
        assert request.timeout_ns == 1_000_000
        assert [(w.name, w.binary) for w in request.outputs] == [("score", False), ("top", True)]


@settings(max_examples=700, deadline=None)
@given(st.data(), st.booleans())
def test_a_changed_header_gives_an_answer_or_a_request_error(
    data: st.DataObject, binary: bool
) -> None:
    body, length = wire.request(GOOD, binary=binary, **FIELDS)
    end = int(length) if length else len(body)
    tree = json.loads(body[:end])
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(tree)))
        match data.draw(st.sampled_from(["replace", "remove", "double"])):
            case "replace":
                container[key] = data.draw(odd_values)
            case "remove":
                del container[key]
            case "double" if isinstance(container, list):
                container.insert(key, container[key])
        if not tree:
            break
    head = json.dumps(tree).encode()
    expect_answer_or_request_error(head + body[end:], str(len(head)) if length else None)


@settings(max_examples=500, deadline=None)
@given(st.data(), st.booleans())
def test_changed_bytes_give_an_answer_or_a_request_error(data: st.DataObject, binary: bool) -> None:
    body, length = wire.request(GOOD, binary=binary, **FIELDS)
    changed = bytearray(body)
    start = data.draw(st.integers(0, len(body)))
    stop = data.draw(st.integers(start, min(len(body), start + 40)))
    changed[start:stop] = data.draw(st.binary(max_size=12))
    if data.draw(st.booleans()):
        length = data.draw(
            st.none()
            | st.sampled_from(["", "0", "-1", "+5", "1e3", " 7 ", "٣", "9" * 30])
            | st.integers(0, len(body) + 2).map(str)
        )
    expect_answer_or_request_error(bytes(changed), length)


def test_five_thousand_random_flips_give_an_answer_or_a_request_error() -> None:
    dice = random.Random(20_240)
    for round_ in range(5_000):
        body, length = wire.request(GOOD, binary=round_ % 2 == 0, **FIELDS)
        changed = bytearray(body)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.choice(b'"[]{},:0-.eE\\nt\x00\xff')
        del changed[dice.randint(1, 3 * len(changed)) :]
        expect_answer_or_request_error(bytes(changed), length)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.none() | st.integers(0, 210).map(str))
def test_any_bytes_give_a_request_error(body: bytes, length: str | None) -> None:
    with pytest.raises(RequestError):
        READER.read(body, length)
