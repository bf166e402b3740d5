"""Health for load balancers, reflection for tools, and the ends of a plane's life."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from sedp.daemon.grpc import extra as grpc_extra
from sedp.errors import ConfigError

from .calls import until
from .grpc_front import INFER, SERVICE, Front, call, open_front, request, serving

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
GOOD = request({"x": ("FP32", np.ones(3, np.float32))})
SLOW = request({"x": ("FP32", np.ones(3, np.float32))}, "gate")
Status = health_pb2.HealthCheckResponse


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with serving() as (front, _):
        yield front


@pytest.fixture
async def channel(front: Front) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(front.address) as channel:
        yield channel


def about(service: str) -> bytes:
    return bytes(health_pb2.HealthCheckRequest(service=service).SerializeToString())


async def status(channel: grpc.aio.Channel, service: str) -> Any:
    reply = await call(channel, CHECK, about(service))
    return Status.FromString(reply.message).status if reply.code is StatusCode.OK else reply.code


async def next_status(watch: Any) -> int:
    return int(Status.FromString(await watch.read()).status)


async def test_health_is_told_of_the_server_the_service_and_each_pipeline(
    front: Front, channel: grpc.aio.Channel
) -> None:
    del front.shelf.places["fail"]
    for service in ("", SERVICE, "double"):
        assert await status(channel, service) == Status.SERVING
    assert await status(channel, "fail") == Status.NOT_SERVING
    assert await status(channel, "dubble") is StatusCode.NOT_FOUND
    front.plane.ready = False
    for service in ("", SERVICE, "double"):
        assert await status(channel, service) == Status.NOT_SERVING
    assert (await call(channel, INFER, GOOD)).code is StatusCode.OK  # it serves on meanwhile
    assert (await call(channel, CHECK, b"\xff")).code is StatusCode.INVALID_ARGUMENT


async def test_watchers_hear_of_each_change_once(front: Front, channel: grpc.aio.Channel) -> None:
    watch = channel.unary_stream(WATCH)(about("double"))
    assert await next_status(watch) == Status.SERVING
    place = front.shelf.places.pop("double")
    front.plane.refresh()
    front.plane.refresh()
    assert await next_status(watch) == Status.NOT_SERVING
    front.shelf.places["double"] = place
    front.plane.refresh()
    assert await next_status(watch) == Status.SERVING


async def test_a_watched_pipeline_may_come_into_being_later(
    front: Front, channel: grpc.aio.Channel
) -> None:
    place, pipeline = front.shelf.places.pop("double"), front.shelf.pipelines.pop("double")
    watch = channel.unary_stream(WATCH)(about("double"))
    assert await next_status(watch) == Status.SERVICE_UNKNOWN
    front.shelf.places["double"], front.shelf.pipelines["double"] = place, pipeline
    front.plane.refresh()
    assert await next_status(watch) == Status.SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_services_and_gives_their_files(
    channel: grpc.aio.Channel, version: str
) -> None:
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.Such"),
    ]
    stream = channel.stream_stream(path)(iter([one.SerializeToString() for one in asked]))
    read = reflection_pb2.ServerReflectionResponse.FromString
    listed, ours, health, missing = [read(answer) async for answer in stream]
    assert [found.name for found in listed.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        SERVICE,
    ]
    [file] = ours.file_descriptor_response.file_descriptor_proto
    [service] = descriptor_pb2.FileDescriptorProto.FromString(file).service
    assert "ModelInfer" in {method.name for method in service.method}
    assert health.file_descriptor_response.file_descriptor_proto
    assert missing.error_response.error_code == StatusCode.NOT_FOUND.value[0]


async def test_closing_lets_calls_end_and_watchers_go(
    front: Front, channel: grpc.aio.Channel
) -> None:
    watch = channel.unary_stream(WATCH)(about(""))
    await next_status(watch)
    waiting = channel.unary_unary(INFER)(SLOW)
    await until(lambda: front.in_flight("gate") == 1)
    closing = asyncio.create_task(front.plane.close(20))
    assert await watch.code() is StatusCode.OK
    assert not closing.done()
    front.gate.open_wide()
    assert await waiting
    await closing


async def test_calls_that_do_not_end_in_time_are_cut_off(
    front: Front, channel: grpc.aio.Channel
) -> None:
    waiting = channel.unary_unary(INFER)(SLOW)
    await until(lambda: front.in_flight("gate") == 1)
    await front.plane.close(0.01)
    assert await waiting.code() in (StatusCode.CANCELLED, StatusCode.UNAVAILABLE)


async def test_workers_share_a_port_that_somebody_holds() -> None:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        first = await open_front(address=address)
        second = await open_front(address=address)
        served = 0
        while 0 in (count_ok(first), count_ok(second)):
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(address, options) as channel:
                assert (await call(channel, INFER, GOOD)).code is StatusCode.OK
            served += 1
        assert count_ok(first) + count_ok(second) == served
        await first.close()
        await second.close()


def count_ok(front: Front) -> int:
    return front.plane.statistics().responses.get(200, 0)


async def test_an_address_that_is_taken_is_a_wrong_config() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"daemon.grpc: cannot listen on {address}"):
            await open_front(address=address)


def test_without_the_extra_the_config_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sedp.daemon.grpc.plane", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError, match=r"grpc is not installed; pip install 'sedp\[grpc\]'"):
        grpc_extra.load_grpc_plane()
