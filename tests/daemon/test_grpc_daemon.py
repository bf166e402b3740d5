"""The gRPC plane as the daemon opens, refreshes and closes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import uvloop
from grpc import StatusCode
from grpc_health.v1 import health_pb2

from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.loading import Config
from sedp.daemon.daemon import Daemon

from .calls import until
from .conftest import StartDaemon, pipelines
from .grpc_front import INFER, call, request
from .user_stages import Gate

ANYWHERE = Address("127.0.0.1", 0)
X = {"x": ("FP32", np.ones(3, np.float32))}
WATCH = "/grpc.health.v1.Health/Watch"
Status = health_pb2.HealthCheckResponse


def open_channel(daemon: Daemon) -> grpc.aio.Channel:
    address = daemon.server.grpc_address
    assert address is not None
    return grpc.aio.insecure_channel(address)


async def test_the_daemon_answers_over_grpc_and_counts_it(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon(grpc=ANYWHERE)
    async with open_channel(daemon) as channel:
        assert (await call(channel, INFER, request(X))).code is StatusCode.OK
        assert (await call(channel, INFER, request(X, "dubble"))).code is StatusCode.NOT_FOUND
    assert daemon.statistics().listeners["grpc"].responses == {200: 1, 404: 1}


async def test_watchers_hear_when_a_pipeline_is_unloaded(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon(grpc=ANYWHERE)
    asked = health_pb2.HealthCheckRequest(service="double").SerializeToString()
    async with open_channel(daemon) as channel:
        watch = channel.unary_stream(WATCH)(asked)
        assert Status.FromString(await watch.read()).status == Status.SERVING
        await daemon.server.unload("double")
        assert Status.FromString(await watch.read()).status == Status.NOT_SERVING
        assert (await call(channel, INFER, request(X))).code is StatusCode.NOT_FOUND


def test_it_serves_on_the_loop_of_the_daemon_and_drains(tmp_path: Path) -> None:
    gate = Gate(Gate.Params())
    here = DaemonSettings(listen=ANYWHERE, admin=ANYWHERE, grpc=ANYWHERE, workers=1)

    async def serve() -> None:
        daemon = await Daemon.start(Config(tmp_path / "c.yaml", here, None, pipelines(gate)))
        async with open_channel(daemon) as channel:
            waiting = channel.unary_unary(INFER)(request(X, "gate"))
            await until(lambda: any(p.in_flight for p in daemon.statistics().engine.pipelines))
            stopping = asyncio.create_task(daemon.stop())
            await until(lambda: not daemon.statistics().ready)
            gate.open_wide()
            assert await waiting
            assert await stopping == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
