"""What is answered although not all of it could be done in time, and what is refused instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from sedp.config.loading import load
from sedp.daemon.daemon import Daemon
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.response import write_response as write_grpc
from sedp.daemon.oip.request import RequestReader
from sedp.daemon.oip.response import write_response
from sedp.engine.events import Outcome

from . import wire
from .calls import GOOD, X, converse, infer_url, outcomes

PIPELINE = wire.pipeline({"x": "FP32[n]"}, {"y": "FP32[n]"})
HERE = __name__.rpartition(".")[0]
CONFIG = f"""\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1}}
pipelines:
  shop:
    inputs: {{x: "FP32[n]"}}
    outputs: {{z: "FP32[n]"}}
    deadline: 30s
    PIPELINE
    stages:
      scale: {{kind: "{HERE}.user_stages:Double"}}
      bonus: {{kind: "{HERE}.load_stages:Bonus", executor: thread STAGE}}
"""


@asynccontextmanager
async def serving(folder: Path, pipeline: str = "", stage: str = "") -> AsyncIterator[Daemon]:
    """A daemon whose stage `bonus` waits for the file `bonus.go`."""
    file = folder / "c.yaml"
    file.write_text(CONFIG.replace("PIPELINE", pipeline).replace(" STAGE", stage))
    daemon = await Daemon.start(load(file, {}))
    try:
        yield daemon
    finally:
        (folder / "bonus.go").touch()
        await daemon.stop()


async def ask(http: aiohttp.ClientSession, daemon: Daemon, number: int = 0) -> tuple[int, Any]:
    """One of many requests, so that none is repeated."""
    async with http.post(
        infer_url(daemon, "shop"), data=wire.request(X, id=str(number))[0]
    ) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("binary", [False, True])
def test_degraded_answer_has_the_stages_in_its_parameters(binary: bool) -> None:
    body, _ = wire.request(
        {"x": ("FP32", np.ones(2, np.float32))}, parameters={"binary_data_output": binary}, id="r"
    )
    request = RequestReader(PIPELINE, 64).read(body)
    columns = {"y": np.array([1, 2], np.float32)}
    written, json_bytes = write_response(PIPELINE, request, columns, ("cut", "features"))
    head = json.loads(written[:json_bytes])
    assert head["parameters"] == {"degraded": "cut,features"}
    assert head["id"] == "r"
    assert wire.answer(written, json_bytes)["y"].tolist() == [1, 2]
    plain, plain_bytes = write_response(PIPELINE, request, columns)
    assert "parameters" not in json.loads(plain[:plain_bytes])


def test_degraded_answer_over_grpc_has_them_too() -> None:
    body, _ = wire.request({"x": ("FP32", np.ones(2, np.float32))})
    request = RequestReader(PIPELINE, 64).read(body)
    columns = {"y": np.array([1, 2], np.float32)}
    read = message_class("ModelInferResponse").FromString
    message = read(write_grpc(PIPELINE, request, columns, typed=False, degraded=("cut", "bonus")))
    assert message.parameters["degraded"].string_param == "cut,bonus"
    assert not read(write_grpc(PIPELINE, request, columns, typed=False)).parameters


async def test_slow_stage_is_stood_in_for_and_the_answer_says_so(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, stage=", timeout: 20ms, fallback: {z: 0.5}") as daemon:
        status, answer = await ask(http, daemon)
        assert status == 200
        assert answer["outputs"][0]["data"] == [0.5, 0.5]
        assert answer["parameters"] == {"degraded": "bonus"}
        [pipeline] = daemon.statistics().engine.pipelines
        assert pipeline.degraded == {"bonus": 1}
        bonus = daemon.statistics().engine.stages[1]
        assert (bonus.timeouts, bonus.fallbacks) == (1, 1)
        (tmp_path / "bonus.go").touch()
        numbers = count(1)
        while "parameters" in answer:  # until the run that nobody waits for has ended
            status, answer = await ask(http, daemon, next(numbers))
        assert answer["outputs"][0]["data"] == [3.0, 6.0]


async def test_slow_stage_without_a_fallback_ends_the_request_in_time(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, stage=", timeout: 20ms") as daemon:
        status, _ = await ask(http, daemon)
        assert status == 504


async def test_request_that_comes_too_late_for_the_target_is_shed_and_counted_by_level(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """The head is the arrival: once the target is used up, nobody waits for the answer."""
    (tmp_path / "bonus.go").touch()
    levels = "slo: {p99: 1ms}\n    priorities: {levels: 3, default: 2}"
    async with serving(tmp_path, levels) as daemon:
        host, port = daemon.data_address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body, _ = wire.request({"x": ("FP32", np.ones(2, np.float32))}, parameters={"priority": 3})
        head = f"POST /v2/models/shop/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\n\r\n".encode() + body[:-1])
        await writer.drain()
        await asyncio.sleep(0.005)
        writer.write(body[-1:])
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        assert b" 503 " in answer.splitlines()[0]
        assert b"Retry-After: " in answer
        assert outcomes(daemon, "shop") == {Outcome.SHED: 1}
        assert daemon.statistics().load.shed == {"shop": {3: 1}}


async def test_raw_requests_are_answered_as_ever(tmp_path: Path) -> None:
    (tmp_path / "bonus.go").touch()
    async with serving(tmp_path, "slo: {p99: 10s}") as daemon:
        head = f"POST /v2/models/shop/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(GOOD)}"
        _, body = await converse(daemon, f"{head}\r\n\r\n".encode() + GOOD)
        assert "parameters" not in json.loads(body)
