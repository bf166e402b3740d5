"""What wrong calls over gRPC get; never INTERNAL but for a stage's own bug."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grpc import StatusCode

from .grpc_front import INFER, SERVICE, call, request, serving

VALUES = np.array([0.5, -1.25, 3e8], np.float32)
X = {"x": ("FP32", VALUES)}
GOOD = request(X)


def item(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [3], **fields}


TYPED = {"contents": {"fp32_contents": VALUES.tolist()}}
BAD: dict[str, tuple[bytes, StatusCode, str]] = {
    "nonsense": (b"nonsense", StatusCode.INVALID_ARGUMENT, "no ModelInferRequest"),
    "cut off": (GOOD[:-1], StatusCode.INVALID_ARGUMENT, "break off"),
    "broken inside": (
        GOOD.replace(b"double", b"d\xffuble"),
        StatusCode.INVALID_ARGUMENT,
        "no ModelInferRequest",
    ),
    "empty": (b"", StatusCode.NOT_FOUND, "there is no pipeline ''"),
    "unknown model": (request(X, "dubble"), StatusCode.NOT_FOUND, "did you mean 'double'"),
    "unknown version": (request(X, model_version="2"), StatusCode.NOT_FOUND, "no version '2'"),
    "no inputs": (request({}), StatusCode.INVALID_ARGUMENT, "missing x"),
    "unknown input": (
        request({"z": X["x"]}),
        StatusCode.INVALID_ARGUMENT,
        "there is no input 'z'",
    ),
    "twice": (
        request(X, inputs=[item(), item()], raw_input_contents=[b"0" * 12] * 2),
        StatusCode.INVALID_ARGUMENT,
        "twice",
    ),
    "datatype": (
        request({"x": ("INT32", VALUES)}),
        StatusCode.INVALID_ARGUMENT,
        "it must be FP32",
    ),
    "shape": (request(X, inputs=[item(shape=[3, 2])]), StatusCode.INVALID_ARGUMENT, "FP32[n]"),
    "no rows": (request(X, inputs=[item(shape=[0])]), StatusCode.INVALID_ARGUMENT, "at least 1"),
    "negative": (request(X, inputs=[item(shape=[-3])]), StatusCode.INVALID_ARGUMENT, "-3 rows"),
    "huge": (
        request(X, inputs=[item(shape=[2**62])]),
        StatusCode.RESOURCE_EXHAUSTED,
        "at most 8",
    ),
    "too few bytes": (
        request(X, raw_input_contents=[b"1234"]),
        StatusCode.INVALID_ARGUMENT,
        "but 4 were sent",
    ),
    "tensor missing": (
        request(X, raw_input_contents=[]),
        StatusCode.INVALID_ARGUMENT,
        "0 entries for 1 inputs",
    ),
    "tensor too many": (
        request(X, raw_input_contents=[b"", b""]),
        StatusCode.INVALID_ARGUMENT,
        "2 entries for 1",
    ),
    "mixed": (request(X, inputs=[item(**TYPED)]), StatusCode.INVALID_ARGUMENT, "not both"),
    "contents of another type": (
        request({}, inputs=[item(contents={"int_contents": [1, 2, 3]})]),
        StatusCode.INVALID_ARGUMENT,
        "takes fp32_contents, not int_contents",
    ),
    "typed, too few": (
        request({}, inputs=[item(contents={"fp32_contents": [1.0]})]),
        StatusCode.INVALID_ARGUMENT,
        "but 4 were sent",
    ),
    "typed, out of range": (
        request(
            {},
            "int8",
            inputs=[
                {"name": "v", "datatype": "INT8", "shape": [1], "contents": {"int_contents": [300]}}
            ],
        ),
        StatusCode.INVALID_ARGUMENT,
        "300",
    ),
    "typed half": (
        request(
            {},
            "fp16",
            inputs=[
                {
                    "name": "v",
                    "datatype": "FP16",
                    "shape": [1],
                    "contents": {"fp32_contents": [1.0]},
                }
            ],
        ),
        StatusCode.INVALID_ARGUMENT,
        "no typed contents",
    ),
    "not a number": (
        request({"x": ("FP32", np.array([np.nan], np.float32))}),
        StatusCode.INVALID_ARGUMENT,
        "NaN",
    ),
    "unknown output": (
        request(X, outputs=[{"name": "z"}]),
        StatusCode.INVALID_ARGUMENT,
        "there is no output 'z'",
    ),
    "shared memory": (
        request(X, inputs=[item(parameters={"shared_memory_region": {"string_param": "r"}})]),
        StatusCode.INVALID_ARGUMENT,
        "no shared memory",
    ),
    "classification": (
        request(X, outputs=[{"name": "y", "parameters": {"classification": {"int64_param": 2}}}]),
        StatusCode.INVALID_ARGUMENT,
        "no classification",
    ),
    "sequence": (
        request(X, parameters={"sequence_id": {"int64_param": 7}}),
        StatusCode.INVALID_ARGUMENT,
        "sequence_id",
    ),
    "timeout": (
        request(X, parameters={"timeout": {"int64_param": -1}}),
        StatusCode.INVALID_ARGUMENT,
        "timeout: -1",
    ),
    "timeout in words": (
        request(X, parameters={"timeout": {"string_param": "soon"}}),
        StatusCode.INVALID_ARGUMENT,
        "timeout",
    ),
    "priority": (
        request(X, parameters={"priority": {"uint64_param": 2**40}}),
        StatusCode.INVALID_ARGUMENT,
        "priority",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_wrong_requests_are_told_what_is_wrong(name: str) -> None:
    message, code, words = BAD[name]
    async with serving() as (_, channel):
        reply = await call(channel, INFER, message)
        assert (reply.code, words in reply.text) == (code, True), reply
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK


async def test_a_stage_that_fails_is_internal_and_keeps_its_secrets() -> None:
    async with serving() as (_, channel):
        reply = await call(channel, INFER, request(X, "fail"))
    assert reply.code is StatusCode.INTERNAL
    assert "secret" not in reply.text
    assert reply.metadata["x-request-id"] in reply.text


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("RepositoryModelLoad", "admin plane"),
        ("RepositoryModelUnload", "admin plane"),
        ("SystemSharedMemoryRegister", "not offered"),
        ("LogSettings", "not offered"),
    ],
)
async def test_calls_that_are_not_offered_say_so(method: str, words: str) -> None:
    async with serving() as (_, channel):
        reply = await call(channel, f"/{SERVICE}/{method}", b"")
        nowhere = await call(channel, "/a.B/C", b"")
    assert (reply.code, nowhere.code) == (StatusCode.UNIMPLEMENTED, StatusCode.UNIMPLEMENTED)
    assert words in reply.text
