"""Daemons in this process: real sockets, real engine, small stages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sedp.columns import TensorSpec
from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.loading import Config
from sedp.daemon.daemon import Daemon
from sedp.engine.graph import StagePlan
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Stage

from .config_file import ConfigFile, Operator
from .user_stages import Double, Fail, Gate, Sloppy, Textual

StartDaemon = Callable[..., Awaitable[Daemon]]
StartFrom = Callable[[ConfigFile], Awaitable[Operator]]


@pytest.fixture
def gate() -> Gate:
    return Gate(Gate.Params())


@pytest.fixture
async def start_daemon(gate: Gate, tmp_path: Path) -> AsyncIterator[StartDaemon]:
    """Start a daemon on free ports; keyword arguments are daemon settings."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Daemon:
            here = Address("127.0.0.1", 0)
            chosen = DaemonSettings(listen=here, admin=here, workers=1, **settings)
            daemon = await Daemon.start(Config(tmp_path / "c.yaml", chosen, None, pipelines(gate)))
            stack.push_async_callback(daemon.stop)
            return daemon

        yield start
        gate.open_wide()


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


@pytest.fixture
async def start_from(http: aiohttp.ClientSession) -> AsyncIterator[StartFrom]:
    """Start a daemon from a config file."""
    async with AsyncExitStack() as stack:

        async def start(config: ConfigFile) -> Operator:
            daemon = await Daemon.start(config.load())
            stack.push_async_callback(daemon.stop)
            return Operator(http, daemon)

        yield start


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def pipelines(gate: Gate) -> tuple[Pipeline, ...]:
    """`double` answers at once, `gate` when let, `fail` never; the others are about strings."""
    floats = {"x": TensorSpec.parse("FP32[n]")}, {"y": TensorSpec.parse("FP32[n]")}
    items, one = TensorSpec.parse("BYTES[n]"), TensorSpec.parse("BYTES[1]")
    strings = {"t": items, "u": one}, {"t2": items, "u2": one}
    waiting = StageUse(gate, StagePlan(queue_rows_max=8, batch_rows_max=8), executor="thread")
    return (
        compile_pipeline("double", *floats, _only(Double(None)), rows_max=8),
        compile_pipeline(
            "gate", *floats, {"s": waiting}, rows_max=8, in_flight_max=2, deadline_ns=60 * 10**9
        ),
        compile_pipeline("fail", *floats, _only(Fail(None))),
        compile_pipeline("textual", *strings, _only(Textual(None))),
        compile_pipeline("sloppy", *strings, _only(Sloppy(None))),
    )


def _only(stage: Stage) -> dict[str, StageUse]:
    return {"s": StageUse(stage, executor="inline")}
