"""Daemons in this process: real sockets, real engine, small stages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sedp.columns import TensorSpec
from sedp.config.loading import Config
from sedp.config.settings import Address, DaemonSettings
from sedp.daemon.server import Daemon
from sedp.engine.graph import StagePlan
from sedp.pipeline import Pipeline, StageUse, compile_pipeline

from .user_stages import Double, Fail, Gate, Textual

StartDaemon = Callable[..., Awaitable[Daemon]]


@pytest.fixture
def gate() -> Gate:
    return Gate(Gate.Params())


@pytest.fixture
async def start_daemon(gate: Gate, tmp_path: Path) -> AsyncIterator[StartDaemon]:
    """Start a daemon on free ports; keyword arguments are daemon settings."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Daemon:
            here = Address("127.0.0.1", 0)
            chosen = DaemonSettings(listen=here, admin=here, **settings)
            daemon = await Daemon.start(Config(tmp_path / "c.yaml", chosen, None, pipelines(gate)))
            stack.push_async_callback(daemon.stop)
            return daemon

        yield start
        gate.open_wide()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def pipelines(gate: Gate) -> tuple[Pipeline, ...]:
    """`double` answers at once, `gate` when let, `fail` never, `textual` with strings."""
    inputs = {"x": TensorSpec.parse("FP32[n]")}
    outputs = {"y": TensorSpec.parse("FP32[n]")}
    one_at_a_time = StagePlan(queue_rows_max=8, batch_rows_max=8)
    text = {"t": TensorSpec.parse("BYTES[n]"), "u": TensorSpec.parse("BYTES[1]")}
    return (
        compile_pipeline(
            "double", inputs, outputs, {"s": StageUse(Double(None), executor="inline")}, rows_max=8
        ),
        compile_pipeline(
            "gate",
            inputs,
            outputs,
            {"s": StageUse(gate, one_at_a_time, executor="thread")},
            rows_max=8,
            in_flight_max=2,
            deadline_ns=60_000_000_000,
        ),
        compile_pipeline("fail", inputs, outputs, {"s": StageUse(Fail(None), executor="inline")}),
        compile_pipeline(
            "textual",
            text,
            {"t2": text["t"], "u2": text["u"]},
            {"s": StageUse(Textual(None), executor="inline")},
        ),
    )
