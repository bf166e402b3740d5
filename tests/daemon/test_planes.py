"""HTTP and gRPC of one server show the same pipelines, and leave together."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
import pytest

from sedp.config.addresses import Address
from sedp.daemon.daemon import Daemon

from .calls import until
from .conftest import StartDaemon

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of imports that are not ours to mend
    import tritonclient.grpc.aio as triton
    from tritonclient.utils import InferenceServerException


@pytest.fixture
async def daemon(start_daemon: StartDaemon) -> Daemon:
    return await start_daemon(grpc=Address("127.0.0.1", 0), drain_delay_ns=10**9)


async def test_grpc_follows_what_is_loaded_and_whether_the_server_is_ready(daemon: Daemon) -> None:
    server = daemon.server
    assert server.grpc_address is not None
    async with triton.InferenceServerClient(server.grpc_address) as client:
        tensor = triton.InferInput("x", [2], "FP32")
        tensor.set_data_from_numpy(np.array([1, 2.5], np.float32))
        result = await client.infer("double", [tensor])
        assert result.as_numpy("y").tolist() == [2, 5]
        await server.unload("double")
        with pytest.raises(InferenceServerException, match="not loaded"):
            await client.infer("double", [tensor])
        await server.load("double")
        assert await client.is_server_ready()
        stopping = asyncio.create_task(daemon.stop())
        await until(lambda: not server.ready)
        assert await client.is_server_live()
        assert not await client.is_server_ready()
        assert (await client.infer("double", [tensor])).as_numpy("y").size == 2
    assert await stopping == 0
    assert server.statistics().listeners["grpc"].connections == 0
