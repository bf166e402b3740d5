"""A daemon at the port: just enough Open Inference Protocol to be sent to, with faults on order."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

from sedp.columns import DTYPES, Array

LENGTH_HEADER = "Inference-Header-Content-Length"
INPUTS = [
    {"name": "household_id", "datatype": "INT64", "shape": [1]},
    {"name": "product_id", "datatype": "INT64", "shape": [-1]},
]
OUTPUTS = [
    {"name": "score", "datatype": "FP32", "shape": [-1]},
    {"name": "rank", "datatype": "INT32", "shape": [2]},
]

Misbehave = Callable[[int], web.Response | None]


def score_of(household_id: Array, product_id: Array) -> Array:
    """What this daemon answers; between 0 and 1."""
    return ((household_id + product_id) % 97 / 97).astype(np.float32)


@dataclass
class FakeDaemon:
    """Serves one pipeline, `promo-rank`; keeps what it was asked."""

    misbehave: Misbehave = lambda number: None
    stall_s: dict[int, float] = field(default_factory=dict)
    requests: list[dict[str, Array]] = field(default_factory=list)
    url: str = ""

    async def metadata(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"name": "promo-rank", "versions": ["1"], "inputs": INPUTS, "outputs": OUTPUTS}
        )

    async def infer(self, request: web.Request) -> web.Response:
        number = len(self.requests)
        columns = read_request(request.headers[LENGTH_HEADER], await request.read())
        self.requests.append(columns)
        await asyncio.sleep(self.stall_s.get(number, 0))
        scores = score_of(columns["household_id"], columns["product_id"])
        return self.misbehave(number) or answer({"score": scores, "rank": np.zeros(2, np.int32)})


def read_request(length: str, body: bytes) -> dict[str, Array]:
    header = json.loads(body[: int(length)])
    assert header["parameters"] == {"binary_data_output": True}
    columns, at = {}, int(length)
    for tensor in header["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        data = np.frombuffer(body[at : at + size], DTYPES[tensor["datatype"]])
        columns[tensor["name"]] = data.reshape(tensor["shape"])
        at += size
    assert at == len(body)
    return columns


def answer(outputs: dict[str, Array]) -> web.Response:
    """A binary answer of the protocol."""
    datatypes = {np.dtype(np.float32): "FP32", np.dtype(np.int32): "INT32"}
    tensors = [
        {
            "name": name,
            "datatype": datatypes[array.dtype],
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in outputs.items()
    ]
    header = json.dumps({"model_name": "promo-rank", "outputs": tensors}).encode()
    body = header + b"".join(array.tobytes() for array in outputs.values())
    return web.Response(body=body, headers={LENGTH_HEADER: str(len(header))})


def refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


@contextmanager
def serving(daemon: FakeDaemon) -> Iterator[FakeDaemon]:
    """The daemon on a free port and a thread of its own, so that it shares nothing with a test."""
    loop = asyncio.new_event_loop()
    runner: Any = loop.run_until_complete(_start(daemon))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield daemon
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(daemon: FakeDaemon) -> web.AppRunner:
    app = web.Application()
    app.router.add_get("/v2/models/promo-rank", daemon.metadata)
    app.router.add_post("/v2/models/promo-rank/infer", daemon.infer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    daemon.url = f"http://{host}:{port}"
    return runner
