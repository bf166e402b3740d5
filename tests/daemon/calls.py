"""Calling a daemon that runs in this process, and looking at what it counts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np

from sedp.config.loading import load
from sedp.daemon.daemon import Daemon
from sedp.engine.events import Outcome

from . import wire

X = {"x": ("FP32", np.array([1.0, 2.5], np.float32))}
GOOD = wire.request(X)[0]


@asynccontextmanager
async def serving(folder: Path, text: str) -> AsyncIterator[Daemon]:
    """A daemon by a config of this text, whose files lie in the folder."""
    file = folder / "c.yaml"
    file.write_text(text)
    daemon = await Daemon.start(load(file, {}))
    try:
        yield daemon
    finally:
        await daemon.stop()


def url(daemon: Daemon, path: str) -> str:
    return f"http://{daemon.data_address}{path}"


def infer_url(daemon: Daemon, pipeline: str = "double") -> str:
    return url(daemon, f"/v2/models/{pipeline}/infer")


def outcomes(daemon: Daemon, pipeline: str) -> dict[Outcome, int]:
    found = {p.name: p for p in daemon.statistics().engine.pipelines}[pipeline].outcomes
    return {outcome: count for outcome, count in found.items() if count}


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; the test's time limit ends it otherwise."""
    while not condition():
        await asyncio.sleep(0.002)


async def converse(daemon: Daemon, sent: bytes) -> tuple[bytes, bytes]:
    """Send raw bytes on a connection of their own: (head, body) of what comes back."""
    host, port = daemon.data_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    body = await reader.readexactly(int(length[1]))
    writer.close()
    await writer.wait_closed()
    return head, body


async def post(http: aiohttp.ClientSession, daemon: Daemon, pipeline: str) -> int:
    async with http.post(infer_url(daemon, pipeline), data=GOOD) as response:
        await response.read()
        return response.status


def in_flight(daemon: Daemon, pipeline: str) -> int:
    engine = daemon.statistics().engine
    return next(p.in_flight for p in engine.pipelines if p.name == pipeline)
