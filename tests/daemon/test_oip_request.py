"""What a request may look like, and what is said about those that may not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sedp.columns import Array
from sedp.daemon.oip.request import InferenceRequest, RequestReader
from sedp.errors import RequestError

from . import wire

PIPELINE = wire.pipeline(
    {"user": "INT64[1]", "item": "INT32[n]"},
    {"score": "FP32[n]", "tag": "BYTES[n]", "half": "FP16[n]", "top": "INT32[1, 3]"},
)
READER = RequestReader(PIPELINE, tensors_max=3)
ONLY_X = RequestReader(wire.pipeline({"x": "FP32[n]"}, {"y": "FP32[n]"}), tensors_max=1)
USER = {"name": "user", "datatype": "INT64", "shape": [1], "data": [5]}
ITEM = {"name": "item", "datatype": "INT32", "shape": [2], "data": [1, 2]}
SCORE = [{"name": "score"}]


def read(*inputs: Any, **fields: Any) -> InferenceRequest:
    body = {"inputs": inputs, "outputs": SCORE, **fields}
    return READER.read(json.dumps(body).encode())


def column(declared: str, sent: dict[str, Any], tail: bytes = b"") -> Array:
    """What becomes of a pipeline's only input."""
    datatype = declared.partition("[")[0]
    reader = RequestReader(wire.pipeline({"x": declared}, {"y": "FP32[n]"}), 64)
    head = json.dumps({"inputs": [{"name": "x", "datatype": datatype, **sent}]}).encode()
    return reader.read(head + tail, str(len(head))).batch["x"]


@pytest.mark.parametrize(
    ("declared", "shape", "column_shape"),
    [
        ("INT64[n]", [3], (3,)),
        ("INT64[n]", [1, 3], (3,)),
        ("INT64[n, 2]", [3, 2], (3, 2)),
        ("INT64[n, 2]", [1, 3, 2], (3, 2)),
        ("INT64[n, 2]", [1, 2], (1, 2)),
        ("INT64[1, n, 2]", [1, 3, 2], (3, 2)),
        ("INT64[1, n, 2]", [3, 2], (3, 2)),
        ("INT64[1]", [1], (1,)),
        ("INT64[1]", [1, 1], (1,)),
        ("INT64[1]", [], (1,)),
        ("INT64[4]", [4], (1, 4)),
        ("INT64[4]", [1, 4], (1, 4)),
        ("INT64[1, 4]", [1, 4], (1, 4)),
        ("INT64[1, 4]", [4], (1, 4)),
    ],
)
def test_a_leading_batch_axis_is_optional(
    declared: str, shape: list[int], column_shape: tuple[int, ...]
) -> None:
    values = list(range(int(np.prod(shape))))
    assert column(declared, {"shape": shape, "data": values}).shape == column_shape


def test_nested_and_flat_data_are_the_same() -> None:
    flat = column("FP32[n, 2]", {"shape": [2, 2], "data": [1, 2, 3, 4]})
    nested = column("FP32[n, 2]", {"shape": [2, 2], "data": [[1, 2], [3, 4]]})
    assert flat.tolist() == nested.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("declared", "sent", "reason"),
    [
        ("INT64[n]", {"shape": [2], "data": [1, 2.0]}, "Expected `int`, got `float`"),
        ("INT64[n]", {"shape": [2], "data": [1, True]}, "Expected `int`, got `bool`"),
        ("INT64[n]", {"shape": [2], "data": [1, "2"]}, "Expected `int`, got `str`"),
        ("INT64[n]", {"shape": [2], "data": [1, None]}, "Expected `int`, got `null`"),
        ("INT64[n]", {"shape": [1], "data": [2**63]}, "too large"),
        ("INT8[n]", {"shape": [1], "data": [128]}, "out of bounds"),
        ("UINT8[n]", {"shape": [1], "data": [-1]}, "out of bounds"),
        ("BOOL[n]", {"shape": [1], "data": [1]}, "Expected `bool`, got `int`"),
        ("FP32[n]", {"shape": [1], "data": [True]}, "Expected `float`, got `bool`"),
        ("FP32[n]", {"shape": [2], "data": [0, 1e39]}, "element 1 is NaN or infinite"),
        ("FP16[n]", {"shape": [1], "data": [1]}, "FP16 has no JSON form"),
        ("BYTES[n]", {"shape": [1], "data": [1]}, "Expected `str`, got `int`"),
        ("INT64[n]", {"shape": [2], "data": [1]}, r"holds 1 elements, its shape is \[2\]"),
        ("INT64[n]", {"shape": [1], "data": [1, 2]}, "holds 2 elements, but its shape has 1"),
        ("BYTES[n]", {"shape": [1], "data": ["a", "b"]}, "holds 2 elements"),
        ("INT64[n, 2]", {"shape": [2, 2], "data": [[1, 2, 3], [4]]}, "different lengths"),
        ("BYTES[n, 2]", {"shape": [2, 2], "data": [["1", "2", "3"], ["4"]]}, "different lengths"),
        ("INT64[n, 2]", {"shape": [1, 2], "data": [[1], [2]]}, r"holds 2 elements, its shape"),
        ("INT64[n]", {"shape": [1], "data": [[1]]}, "nested 2 deep"),
        ("INT64[n]", {"shape": [1], "data": 1}, "nested 0 deep"),
        ("INT64[n]", {"shape": [1]}, "either data or the parameter binary_data_size"),
        ("INT64[n]", {"shape": [0], "data": []}, "0 rows"),
        ("INT64[n]", {"shape": [-1], "data": []}, "-1 rows"),
        ("INT64[n]", {"shape": [2**63], "data": []}, "9223372036854775808 rows; at most 8"),
        ("INT64[n]", {"shape": [10**4000], "data": []}, r"over 2\*\*64 rows"),
        ("INT64[n]", {"shape": [2, 3], "data": [0] * 6}, "has shape"),
        ("INT64[n, 2]", {"shape": [2**32, 2**32], "data": []}, "has shape"),
        ("INT64[n]", {"shape": [1] * 9, "data": []}, r"it must be INT64\[n\]"),
        ("INT64[n]", {"shape": [1] * 10, "data": []}, "length <= 9"),
        ("INT64[n]", {"shape": [2], "data": [1, 2], "datatype": "INT32"}, "it must be INT64"),
        ("INT64[n]", {"shape": [1], "data": [1], "name": "xx"}, "did you mean 'x'?"),
        (
            "INT64[n]",
            {"shape": [1], "parameters": {"shared_memory_region": "r"}},
            "no shared memory here",
        ),
    ],
)
def test_bad_json_tensors_are_refused(declared: str, sent: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        column(declared, sent)


@pytest.mark.parametrize(
    ("declared", "count", "raw", "reason"),
    [
        ("INT64[n]", 2, b"\0" * 15, "2 elements of INT64 take 16 bytes, but 15 were sent"),
        ("INT64[n]", 2, b"\0" * 17, "take 16 bytes, but 17"),
        ("BOOL[n]", 2, b"\1\2", "must be bytes 0 or 1"),
        ("FP32[n]", 2, np.array([0, np.nan], "<f4").tobytes(), "'x': element 1 is NaN"),
        ("FP64[n]", 1, np.array([-np.inf], "<f8").tobytes(), "'x': element 0 is NaN"),
        ("FP16[n]", 1, np.array([np.inf], "<f2").tobytes(), "'x': element 0 is NaN"),
        ("BYTES[n]", 1, b"\1\0\0", "element 0 of 1 ends at byte 4, but 3"),
        ("BYTES[n]", 2, b"\1\0\0\0a", "element 1 of 2 ends at byte 9, but 5"),
        ("BYTES[n]", 1, b"\xff\xff\xff\xffa", "ends at byte 4294967299, but 5"),
        ("BYTES[n]", 1, b"\0\0\0\0a", "take 4 bytes, but 5"),
    ],
)
def test_bad_binary_tensors_are_refused(declared: str, count: int, raw: bytes, reason: str) -> None:
    sent = {"shape": [count], "parameters": {"binary_data_size": len(raw)}}
    with pytest.raises(RequestError, match=reason):
        column(declared, sent, raw)


@pytest.mark.parametrize("size", [-1, 9, 2**63, 10**30])
def test_a_binary_size_must_fit_the_body(size: int) -> None:
    sent = {"shape": [1], "parameters": {"binary_data_size": size}}
    with pytest.raises(RequestError, match="8 bytes are left"):
        column("INT64[n]", sent, b"\0" * 8)


def test_bytes_that_belong_to_no_tensor_are_refused() -> None:
    sent = {"shape": [1], "parameters": {"binary_data_size": 8}}
    with pytest.raises(RequestError, match="9 bytes follow the JSON part"):
        column("INT64[n]", sent, b"\0" * 9)


@pytest.mark.parametrize(
    ("inputs", "fields", "reason"),
    [
        ([USER], {}, "missing item"),
        ([], {}, "missing item, user"),
        ([USER, USER, ITEM], {}, "'user' is there twice"),
        ([USER, ITEM, {**USER, "name": "usr"}], {}, "no input 'usr'; did you mean 'user'"),
        ([USER, ITEM], {"outputs": [{"name": "scor"}]}, "no output 'scor'; did you mean 'score'"),
        ([USER, ITEM], {"outputs": SCORE * 2}, "a name is there twice"),
        ([USER, ITEM], {"outputs": [{"name": "half"}]}, "FP16, which has no JSON form"),
        ([USER, ITEM], {"outputs": []}, "'half' is FP16"),
        (
            [USER, ITEM],
            {"outputs": [{"name": "score", "parameters": {"classification": 3}}]},
            "no classification",
        ),
        ([USER, ITEM], {"parameters": {"timeout": -1}}, "timeout: -1 µs"),
        ([USER, ITEM], {"parameters": {"timeout": 1.5}}, "Expected `int"),
        ([USER, ITEM], {"parameters": {"priority": -1}}, "priority: -1"),
        ([USER, ITEM], {"parameters": {"sequence_id": 4}}, "sequence_id"),
        ([USER, ITEM], {"id": 7}, "Expected `str"),
    ],
)
def test_bad_requests_are_refused(inputs: list[Any], fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        read(*inputs, **fields)
    assert caught.value.status == 400


def test_item_tensors_must_agree_on_the_rows() -> None:
    reader = RequestReader(wire.pipeline({"a": "INT64[n]", "b": "INT64[n]"}, {}), 64)
    body, _ = wire.request({"a": ("INT64", np.arange(2)), "b": ("INT64", np.arange(3))})
    with pytest.raises(RequestError, match="'b' has 3 rows, but 'a' has 2"):
        reader.read(body)


@pytest.mark.parametrize(("rows", "good"), [(7, True), (8, True), (9, False)])
def test_rows_are_limited(rows: int, good: bool) -> None:
    sent = {"shape": [rows], "data": [1] * rows}
    if good:
        assert len(column("INT64[n]", sent)) == rows
    else:
        with pytest.raises(RequestError, match="9 rows; at most 8") as caught:
            column("INT64[n]", sent)
        assert caught.value.status == 413


@pytest.mark.parametrize(("count", "status"), [(2, None), (3, 400), (4, 413)])
def test_tensors_are_limited(count: int, status: int | None) -> None:
    """Three inputs are within the limit, but the pipeline has only two."""
    inputs = [USER, ITEM, *[{**ITEM, "name": f"more{i}"} for i in range(2)]][:count]
    if status is None:
        assert read(*inputs).batch.row_count == 2
        return
    with pytest.raises(RequestError) as caught:
        read(*inputs)
    assert caught.value.status == status


def test_a_million_brackets_are_refused_wherever_they_are() -> None:
    deep = b"[" * 1_000_000
    name = b'{"inputs":[{"name":"user","datatype":"INT64","shape":[1],'
    for body in (deep, b'{"inputs":' + deep, b'{"x":' + deep, name + b'"data":' + deep):
        with pytest.raises(RequestError):
            READER.read(body)
    closed: Any = 1
    for _ in range(900):
        closed = [closed]
    with pytest.raises(RequestError, match="nested too deep"):
        read({**USER, "data": closed}, ITEM)


def test_the_timeout_is_in_microseconds_and_bounded() -> None:
    assert read(USER, ITEM, parameters={"timeout": 250}).timeout_ns == 250_000
    assert read(USER, ITEM, parameters={"timeout": 0}).timeout_ns is None
    assert read(USER, ITEM).timeout_ns is None
    huge = read(USER, ITEM, parameters={"timeout": 10**40}).timeout_ns
    assert huge is not None
    assert huge < 2**63


def test_unknown_parameters_belong_to_the_caller() -> None:
    assert read(USER, ITEM, parameters={"experiment": "b", "priority": 3}).priority == 3


def test_an_outputs_own_binary_flag_wins() -> None:
    outputs = [
        {"name": "score", "parameters": {"binary_data": False}},
        {"name": "tag", "parameters": {"binary_data": True}},
        {"name": "top"},
    ]
    wanted = read(USER, ITEM, outputs=outputs, parameters={"binary_data_output": True}).outputs
    assert [(item.name, item.binary) for item in wanted] == [
        ("score", False),
        ("tag", True),
        ("top", True),
    ]


def test_a_known_header_with_other_bytes_is_read_anew() -> None:
    for values in ([1.0, 2.0], [3.0, 4.0]):
        sent = {"x": ("FP32", np.array(values, np.float32))}
        assert ONLY_X.read(*wire.request(sent, binary=True)).batch["x"].tolist() == values
    body, length = wire.request(sent, binary=True)
    for wrong, reason in ((body[:-1], "7 bytes are left"), (body + b"1", "9 bytes follow")):
        with pytest.raises(RequestError, match=reason):
            ONLY_X.read(wrong, length)


def test_without_outputs_all_are_sent() -> None:
    wanted = read(USER, ITEM, outputs=None, parameters={"binary_data_output": True}).outputs
    assert [item.name for item in wanted] == list(PIPELINE.outputs)


def test_raw_form_is_the_only_tensor() -> None:
    reader = RequestReader(wire.pipeline({"x": "FP32[n, 2]"}, {"y": "FP32[n]"}), 64)
    request = reader.read(np.arange(6, dtype="<f4").tobytes(), "0")
    assert request.batch["x"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert request.outputs[0].binary
    with pytest.raises(RequestError, match="take 16 bytes, but 23"):
        reader.read(b"\0" * 23, "0")
    with pytest.raises(RequestError, match="this pipeline has 2"):
        READER.read(b"\0" * 8, "0")


def test_a_stage_that_writes_into_its_batch_spoils_no_later_request() -> None:
    body, json_bytes = wire.request({"x": ("FP32", np.zeros(3, np.float32))}, binary=True)
    first = ONLY_X.read(body, json_bytes).batch
    first.splits[:] = 7
    first["x"][:] = 7
    second = ONLY_X.read(body, json_bytes).batch
    assert second.splits.tolist() == [0, 3]
    assert second["x"].tolist() == [0, 0, 0]
