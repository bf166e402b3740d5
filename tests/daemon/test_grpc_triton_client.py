"""`tritonclient[grpc]` as it is installed from PyPI, sync, asyncio and streaming."""

from __future__ import annotations

import asyncio
import queue
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from sedp.daemon.grpc.messages import FILE, POOL, SERVICE

from .grpc_front import Front, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.grpc as triton
    import tritonclient.grpc.aio as triton_aio
    from tritonclient.grpc import model_config_pb2, service_pb2
    from tritonclient.utils import InferenceServerException

VALUES = np.array([0.5, -1.25, 3e8], np.float32)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with serving() as (front, _):
        yield front


def tensor(kind: Any, name: str, datatype: str, array: Any) -> Any:
    return kind(name, list(array.shape), datatype).set_data_from_numpy(array)


def use_everything(address: str) -> Iterator[object]:
    """One call after the other, as a script would make them; runs in a thread."""
    with triton.InferenceServerClient(address) as client:
        yield client.is_server_live() and client.is_server_ready()
        yield client.is_model_ready("double") and client.is_model_ready("double", "1")
        yield not client.is_model_ready("dubble")
        yield client.get_server_metadata().name == "sedp"
        yield client.get_model_metadata("double").inputs[0].shape == [-1]
        yield client.get_model_config("double", as_json=True)["config"]["name"] == "double"
        yield {m.name for m in client.get_model_repository_index().models} >= {"double", "fail"}
        inputs = [tensor(triton.InferInput, "x", "FP32", VALUES)]
        for outputs in (None, [triton.InferRequestedOutput("y")]):
            for compression in (None, "gzip", "deflate"):
                result = client.infer(
                    "double",
                    inputs,
                    outputs=outputs,
                    request_id="id-1",
                    timeout=500_000,
                    priority=1,
                    client_timeout=5,
                    compression_algorithm=compression,
                    parameters={"mine": "kept"},
                )
                yield result.as_numpy("y").tolist() == (VALUES * 2).tolist()
                yield result.get_response().id == "id-1"
        batch = [tensor(triton.InferInput, "x", "FP32", VALUES[None])]  # leading axis of 1
        yield client.infer("double", batch).as_numpy("y").shape == (3,)
        statistics = client.get_inference_statistics("double").model_stats[0]
        yield statistics.inference_count == 7
        words = np.array(["ä", "", "long" * 9], object)
        strings = client.infer("bytes", [tensor(triton.InferInput, "v", "BYTES", words)])
        yield [word.decode() for word in strings.as_numpy("w")] == words.tolist()
        half = np.ones(2, np.float16)
        yield client.infer("fp16", [tensor(triton.InferInput, "v", "FP16", half)]).as_numpy(
            "w"
        ).tolist() == [1, 1]
        yield from stream(client, inputs)
        yield from misuse(client, inputs)


def stream(client: Any, inputs: list[Any]) -> Iterator[object]:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(50):
        client.async_stream_infer("double", inputs, request_id=str(number))
    client.async_stream_infer("dubble", inputs)
    client.stop_stream()
    ids = [answers.get()[0].get_response().id for _ in range(50)]
    yield ids == [str(number) for number in range(50)]
    yield "did you mean 'double'" in str(answers.get()[1])


def misuse(client: Any, inputs: list[Any]) -> Iterator[object]:
    whole = np.arange(3, dtype=np.int32)
    integers = [tensor(triton.InferInput, "x", "INT32", whole)]
    for model, sent, status, words in (
        ("dubble", inputs, "NOT_FOUND", "did you mean 'double'"),
        ("fail", inputs, "INTERNAL", "the pipeline failed"),
        ("double", integers, "INVALID_ARGUMENT", "it must be FP32"),
    ):
        with pytest.raises(InferenceServerException, match=words) as caught:
            client.infer(model, sent)
        yield caught.value.status() == f"StatusCode.{status}"
    with pytest.raises(InferenceServerException, match="admin plane"):
        client.load_model("double")
    with pytest.raises(InferenceServerException, match="not offered"):
        client.get_log_settings()


async def test_the_sync_client_works_unmodified(front: Front) -> None:
    results = await asyncio.to_thread(lambda: list(use_everything(front.address)))
    assert len(results) > 25
    assert all(results)


async def test_the_asyncio_client_works_unmodified(front: Front) -> None:
    async with triton_aio.InferenceServerClient(front.address) as client:
        assert await client.is_server_live()
        assert await client.is_model_ready("double")
        inputs = [tensor(triton_aio.InferInput, "x", "FP32", VALUES)]
        result = await client.infer("double", inputs)
        assert result.as_numpy("y").tolist() == (VALUES * 2).tolist()

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for _ in range(3):
                yield {"model_name": "double", "inputs": inputs}

        answers = [pair async for pair in client.stream_infer(requests())]
        assert [result.as_numpy("y").tolist() for result, _error in answers] == [
            (VALUES * 2).tolist()
        ] * 3
        with pytest.raises(InferenceServerException, match="did you mean"):
            await client.infer("dubble", inputs)


def test_the_schema_is_that_of_the_public_protocol() -> None:
    theirs = {
        **service_pb2.DESCRIPTOR.message_types_by_name,
        **model_config_pb2.DESCRIPTOR.message_types_by_name,
    }
    ours = POOL.FindFileByName(FILE)
    for name, message in ours.message_types_by_name.items():
        check_same_fields(message, theirs[name])
    for name, enum in ours.enum_types_by_name.items():
        other = model_config_pb2.DESCRIPTOR.enum_types_by_name[name]
        assert {v.name: v.number for v in enum.values} == {v.name: v.number for v in other.values}
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for method in SERVICE.methods:
        other = methods[method.name]
        assert (method.input_type.full_name, method.client_streaming) == (
            other.input_type.full_name,
            other.client_streaming,
        )
        assert (method.output_type.full_name, method.server_streaming) == (
            other.output_type.full_name,
            other.server_streaming,
        )


def check_same_fields(message: Any, other: Any) -> None:
    for field in message.fields:
        assert traits(field) == traits(other.fields_by_name[field.name]), message.full_name
    for nested in message.nested_types:
        check_same_fields(nested, other.nested_types_by_name[nested.name])


def traits(field: Any) -> tuple[object, ...]:
    of = field.message_type or field.enum_type
    oneof = field.containing_oneof
    return (
        field.number,
        field.type,
        field.is_repeated,
        field.is_packed,
        of and of.full_name,
        oneof and oneof.name,
    )
