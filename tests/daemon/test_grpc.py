"""The protocol over gRPC: what right requests get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from sedp.columns import DTYPES, Array
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.request import CONTENTS

from .grpc_front import INFER, SERVICE, Front, call, outputs, request, serving

VALUES = np.array([0.5, -1.25, 3e8], np.float32)
X = {"x": ("FP32", VALUES)}
TRACE = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with serving() as (front, _):
        yield front


@pytest.fixture
async def channel(front: Front) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(front.address) as channel:
        yield channel


def some_values(datatype: str) -> Array:
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return np.array([b"", b"\xff\x00", "ä".encode()], object)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        return np.array([limits.min, 1, limits.max], dtype)
    return np.array([0, 1, 1], dtype)


async def ask(channel: grpc.aio.Channel, method: str, **fields: Any) -> Any:
    """Call a method other than ModelInfer with the fields of its request."""
    message = message_class(f"{method}Request")(**fields).SerializeToString()
    reply = await call(channel, f"/{SERVICE}/{method}", message)
    assert reply.code is grpc.StatusCode.OK, reply.text
    return message_class(f"{method}Response").FromString(reply.message)


@pytest.mark.parametrize("datatype", DTYPES)
async def test_raw_tensors_of_every_datatype_come_and_go(
    channel: grpc.aio.Channel, datatype: str
) -> None:
    values = some_values(datatype)
    reply = await call(channel, INFER, request({"v": (datatype, values)}, datatype.lower()))
    assert reply.code is grpc.StatusCode.OK, reply.text
    assert outputs(reply.message)["w"].tolist() == values.tolist()


@pytest.mark.parametrize("datatype", CONTENTS)
async def test_typed_contents_are_answered_with_typed_contents(
    channel: grpc.aio.Channel, datatype: str
) -> None:
    values = some_values(datatype).tolist()
    item = {
        "name": "v",
        "datatype": datatype,
        "shape": [3],
        "contents": {CONTENTS[datatype]: values},
    }
    message = request({}, datatype.lower(), inputs=[item])
    reply = await call(channel, INFER, message)
    assert reply.code is grpc.StatusCode.OK, reply.text
    response = message_class("ModelInferResponse").FromString(reply.message)
    assert not response.raw_output_contents
    assert list(getattr(response.outputs[0].contents, CONTENTS[datatype])) == values


async def test_an_answer_names_pipeline_version_id_and_tensors(channel: grpc.aio.Channel) -> None:
    reply = await call(channel, INFER, request(X, id="id-1", model_version="1"))
    response = message_class("ModelInferResponse").FromString(reply.message)
    assert (response.model_name, response.model_version, response.id) == ("double", "1", "id-1")
    [output] = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [3])
    assert outputs(reply.message)["y"].tolist() == (VALUES * 2).tolist()


async def test_only_wanted_outputs_come_back(channel: grpc.aio.Channel) -> None:
    reply = await call(channel, INFER, request(X, outputs=[{"name": "y"}]))
    assert list(outputs(reply.message)) == ["y"]


async def test_tensors_may_lie_anywhere_in_the_message(channel: grpc.aio.Channel) -> None:
    whole = request(X)
    head = request(X, raw_input_contents=[])
    tensor = whole[len(head) :]
    reply = await call(channel, INFER, tensor + head)
    assert outputs(reply.message)["y"].tolist() == (VALUES * 2).tolist()


async def test_request_id_and_trace_are_handed_back(channel: grpc.aio.Channel) -> None:
    sent = (("x-request-id", "mine"), ("traceparent", TRACE), ("tracestate", "a=1"))
    for message in (request(X), b"nonsense"):
        reply = await call(channel, INFER, message, metadata=sent)
        assert {key: reply.metadata[key] for key, _ in sent} == dict(sent)


async def test_without_a_request_id_each_call_gets_one_of_its_own(
    channel: grpc.aio.Channel,
) -> None:
    replies = [await call(channel, INFER, request(X)) for _ in range(2)]
    ids = {reply.metadata["x-request-id"] for reply in replies}
    assert len(ids) == 2
    assert all(reply.metadata.keys() == {"x-request-id"} for reply in replies)


async def test_metadata_is_that_of_rest(channel: grpc.aio.Channel) -> None:
    server = await ask(channel, "ServerMetadata")
    assert server.name == "sedp"
    assert list(server.extensions) == ["schedule_policy", "statistics", "model_configuration"]
    model = await ask(channel, "ModelMetadata", name="double", version="1")
    assert (model.name, list(model.versions), model.platform) == ("double", ["1"], "sedp_pipeline")
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("x", "FP32", [-1])]
    config = (await ask(channel, "ModelConfig", name="bytes")).config
    assert (config.name, config.backend) == ("bytes", "sedp")
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("v", 13, [-1])]


async def test_statistics_count_what_was_answered(channel: grpc.aio.Channel) -> None:
    await call(channel, INFER, request(X))
    [found] = (await ask(channel, "ModelStatistics", name="double")).model_stats
    assert (found.name, found.inference_count, found.inference_stats.success.count) == (
        "double",
        1,
        1,
    )
    assert found.inference_stats.success.ns > 0
    assert len((await ask(channel, "ModelStatistics")).model_stats) > 10


async def test_the_index_lists_pipelines_that_are_not_loaded_unless_asked_for_ready_ones(
    front: Front, channel: grpc.aio.Channel
) -> None:
    del front.shelf.places["fail"]
    states = {model.name: model.state for model in (await ask(channel, "RepositoryIndex")).models}
    assert (states["double"], states["fail"]) == ("READY", "UNAVAILABLE")
    ready = {model.name for model in (await ask(channel, "RepositoryIndex", ready=True)).models}
    assert ready == states.keys() - {"fail"}


async def test_readiness_follows_the_server_and_its_pipelines(
    front: Front, channel: grpc.aio.Channel
) -> None:
    async def seen() -> tuple[bool, bool, bool]:
        live = await ask(channel, "ServerLive")
        server = await ask(channel, "ServerReady")
        model = await ask(channel, "ModelReady", name="double")
        return live.live, server.ready, model.ready

    assert await seen() == (True, True, True)
    assert not (await ask(channel, "ModelReady", name="dubble")).ready
    assert not (await ask(channel, "ModelReady", name="double", version="2")).ready
    front.plane.ready = False
    assert await seen() == (True, False, False)


async def test_a_stream_is_answered_in_order_and_outlives_a_wrong_request(
    channel: grpc.aio.Channel,
) -> None:
    sent = [request(X, id=str(number)) for number in range(40)]
    sent[7] = request(X, model="dubble")
    sent[9] = b"nonsense"
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(sent))
    read = message_class("ModelStreamInferResponse").FromString
    answers = [read(message) async for message in stream]
    failed = {
        place: answer.error_message for place, answer in enumerate(answers) if answer.error_message
    }
    assert failed.keys() == {7, 9}
    assert "did you mean 'double'" in failed[7]
    assert [a.infer_response.id for n, a in enumerate(answers) if n not in failed] == [
        str(number) for number in range(40) if number not in failed
    ]
