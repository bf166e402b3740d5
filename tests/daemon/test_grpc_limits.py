"""What large, late and surplus calls over gRPC get."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from grpc import StatusCode

from sedp.daemon.grpc.calls import GrpcCall
from sedp.daemon.grpc.plane import METADATA_BYTES_MAX
from sedp.daemon.grpc.wire import HEAD_BYTES_MAX
from sedp.daemon.request_ids import RequestIds
from sedp.engine.events import NEVER_NS, Outcome

from .calls import until
from .grpc_front import INFER, call, request, serving

X = {"x": ("FP32", np.array([0.5, -1.25, 3e8], np.float32))}
ITEM = {"name": "x", "datatype": "FP32", "shape": [3]}
GOOD = request(X)


class Context:
    """The side of gRPC of a call that has so many seconds left."""

    def __init__(self, left_s: float | None) -> None:
        self._left_s = left_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def time_remaining(self) -> float | None:
        return self._left_s


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_a_message_of_the_limit_is_the_largest(more: int) -> None:
    pad = 1024 - len(request(X, parameters={"pad": {"string_param": "0" * 256}})) + 256 + more
    message = request(X, parameters={"pad": {"string_param": "0" * pad}})
    assert len(message) == 1024 + more
    async with serving(body_bytes_max=1024) as (_, channel):
        reply = await call(channel, INFER, message)
    assert reply.code is (StatusCode.RESOURCE_EXHAUSTED if more > 0 else StatusCode.OK)


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_a_head_of_the_limit_is_the_longest(more: int) -> None:
    pad = HEAD_BYTES_MAX - 4096
    size = len(request(X, parameters={"pad": {"string_param": "0" * pad}}, raw_input_contents=[]))
    message = request(
        X, parameters={"pad": {"string_param": "0" * (pad + HEAD_BYTES_MAX - size + more)}}
    )
    async with serving() as (_, channel):
        reply = await call(channel, INFER, message)
    assert reply.code is (StatusCode.RESOURCE_EXHAUSTED if more > 0 else StatusCode.OK), reply.text


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_messages_of_the_limit_may_be_inside_at_once(more: int) -> None:
    inside = request(X, "gate")
    async with serving() as (front, channel):
        front.plane.in_flight.bytes_max = len(inside) + len(GOOD) - more
        waiting = channel.unary_unary(INFER)(inside)
        await until(lambda: front.in_flight("gate") == 1)
        reply = await call(channel, INFER, GOOD)
        assert reply.code is (StatusCode.RESOURCE_EXHAUSTED if more > 0 else StatusCode.OK)
        assert ("retry-after" in reply.metadata) is (more > 0)
        waiting.cancel()
        await until(lambda: front.plane.in_flight.held == 0)


async def test_bytes_of_one_pipeline_are_bounded_apart() -> None:
    inside = request(X, "gate")
    async with serving() as (front, channel):
        front.plane.in_flight.divide(["gate"])
        part = front.plane.in_flight.of("gate")
        part.bytes_max = 2 * len(inside) - 1
        waiting = channel.unary_unary(INFER)(inside)
        await until(lambda: front.in_flight("gate") == 1)
        reply = await call(channel, INFER, inside)
        assert reply.code is StatusCode.RESOURCE_EXHAUSTED
        assert "'gate'" in reply.text
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK
        waiting.cancel()
        await until(lambda: part.held == front.plane.in_flight.held == 0)


@pytest.mark.parametrize("key_bytes", [METADATA_BYTES_MAX // 2, 2 * METADATA_BYTES_MAX])
async def test_metadata_is_bounded(key_bytes: int) -> None:
    async with serving() as (_, channel):
        reply = await call(channel, INFER, GOOD, metadata=(("key", "x" * key_bytes),))
        is_large = key_bytes > METADATA_BYTES_MAX
        assert reply.code is (StatusCode.RESOURCE_EXHAUSTED if is_large else StatusCode.OK)


@pytest.mark.parametrize("count", [7, 8, 9])
async def test_rows_max_is_that_of_the_pipeline(count: int) -> None:
    async with serving() as (_, channel):
        reply = await call(channel, INFER, request({"x": ("FP32", np.ones(count, np.float32))}))
    assert reply.code is (StatusCode.RESOURCE_EXHAUSTED if count > 8 else StatusCode.OK)


@pytest.mark.parametrize("count", [3, 4, 5])
async def test_tensors_max_counts_inputs(count: int) -> None:
    message = request(X, inputs=[ITEM] * count, raw_input_contents=[b"0" * 12] * count)
    async with serving(tensors_max=4) as (_, channel):
        reply = await call(channel, INFER, message)
    assert ("at most 4" in reply.text) is (count > 4)
    assert reply.code is (
        StatusCode.RESOURCE_EXHAUSTED if count > 4 else StatusCode.INVALID_ARGUMENT
    )


async def test_what_is_full_is_told_when_to_come_back() -> None:
    async with serving() as (front, channel):
        waiting = [asyncio.create_task(call(channel, INFER, request(X, "gate"))) for _ in range(2)]
        await until(lambda: front.in_flight("gate") == 2)
        reply = await call(channel, INFER, request(X, "gate"))
        assert reply.code is StatusCode.RESOURCE_EXHAUSTED
        wait_s = int(reply.metadata["retry-after"])
        assert 1 <= wait_s <= 3
        assert reply.metadata["grpc-retry-pushback-ms"] == str(wait_s * 1000)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_timeout_parameter_ends_in_deadline_exceeded() -> None:
    message = request(X, "gate", parameters={"timeout": {"int64_param": 20_000}})
    async with serving() as (front, channel):
        reply = await call(channel, INFER, message)
    assert reply.code is StatusCode.DEADLINE_EXCEEDED
    assert front.outcomes("gate") == {Outcome.DEADLINE: 1}


async def test_the_deadline_of_the_call_reaches_the_engine() -> None:
    async with serving() as (front, channel):
        reply = await call(channel, INFER, request(X, "gate"), timeout=0.05)
        assert reply.code is StatusCode.DEADLINE_EXCEEDED
        await until(lambda: front.outcomes("gate") != {})
    assert front.outcomes("gate").keys() <= {Outcome.DEADLINE, Outcome.CANCELLED}


async def test_a_cancelled_call_leaves_the_queue() -> None:
    async with serving() as (front, channel):
        running = channel.unary_unary(INFER)(request(X, "gate"))
        await until(lambda: front.in_flight("gate") == 1)
        queued = channel.unary_unary(INFER)(request(X, "gate"))
        await until(lambda: front.in_flight("gate") == 2)
        queued.cancel()
        await until(lambda: front.in_flight("gate") == 1)
        running.cancel()
        await until(lambda: front.plane.statistics().connections == 0)
    assert front.outcomes("gate") == {Outcome.CANCELLED: 2}
    assert front.plane.statistics().responses == {499: 2}


async def test_a_draining_pipeline_is_unavailable() -> None:
    async with serving() as (front, channel):
        front.shelf.places["double"].engine.begin_drain()
        reply = await call(channel, INFER, GOOD)
    assert reply.code is StatusCode.UNAVAILABLE
    assert "retry-after" in reply.metadata


def test_the_earlier_of_two_deadlines_counts() -> None:
    def clip(left_s: float | None, deadline_ns: int) -> int:
        return GrpcCall(Context(left_s), RequestIds()).clip(deadline_ns)

    assert clip(None, 7) == 7
    assert clip(60.0, 7) == 7
    now_ns = clip(0.0, NEVER_NS)
    assert now_ns < clip(1.0, NEVER_NS) - 900_000_000
