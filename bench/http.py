"""Bench `http`: what the front door costs, beside a bare aiohttp echo of the same bodies.

Pipelines do nothing, so all that is measured is reading, checking, scheduling and answering. CPU
is that of the server's processes alone, exact to the nanosecond; the client is another process,
and both servers get their turn in each round. Goals are limits of the ratio to the echo.
"""

from __future__ import annotations

import select
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.http_client import call
from bench.http_servers import ServerProcess, run_echo, run_sedp
from bench.http_stages import HELD
from sedp.columns import Array

ROWS = 100
CALLERS = 16
ANSWER_S = 10.0
ECHO = "aiohttp web.Server echo"


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench; `seed` draws the tensors."""
    rounds, requests = (3, 4_000) if quick else (9, 16_000)
    values = np.random.default_rng(seed).random(ROWS, np.float32)
    binary, text = infer("pass", *binary_body(values)), infer("pass", *json_body(values))
    refused = infer("full", *binary_body(values))
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        echo = running.enter_context(run_echo())
        one = running.enter_context(run_sedp(folder, 1))
        two = running.enter_context(run_sedp(folder, 2))
        _fill(one, running)
        size = (rounds, requests)
        return [
            *_compare("binary, 1 worker", Meter(one, binary), Meter(echo, binary), size, 1.6),
            *_compare("JSON, 1 worker", Meter(one, text), Meter(echo, text), size),
            *_compare(
                "refused, 1 worker", Meter(one, refused, 503), Meter(echo, binary), size, 0.5
            ),
            *_compare("binary, 2 workers", Meter(two, binary), Meter(echo, binary), size),
            *_compare("JSON, 2 workers", Meter(two, text), Meter(echo, text), size),
        ]


def infer(pipeline: str, body: bytes, json_bytes: int | None) -> bytes:
    """A whole request."""
    length = f"Inference-Header-Content-Length: {json_bytes}\r\n" if json_bytes else ""
    head = f"POST /v2/models/{pipeline}/infer HTTP/1.1\r\nHost: localhost\r\n{length}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def binary_body(values: Array) -> tuple[bytes, int]:
    """A body with binary tensors both ways, and the length of its JSON part."""
    raw = values.tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [len(values)],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = msgspec.json.encode({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return head + raw, len(head)


def json_body(values: Array) -> tuple[bytes, None]:
    """A body that is all JSON."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values.tolist()}
    return msgspec.json.encode({"inputs": [tensor]}), None


class Meter:
    """Sends one request again and again; keeps the rates of its rounds."""

    def __init__(self, server: ServerProcess, request: bytes, status: int = 200) -> None:
        self.rates: list[float] = []
        self._server = server
        self._request = request
        self._status = b"%d" % status

    def cpu_us(self, requests: int) -> float:
        """CPU of the server a request, in one round."""
        before_ns = self._server.cpu_ns()
        seconds, statuses = uvloop.run(call(self._server.port, self._request, requests, CALLERS))
        assert statuses == {self._status: requests}, f"{statuses} instead of {self._status!r}"
        self.rates.append(requests / seconds)
        return (self._server.cpu_ns() - before_ns) / requests / 1e3


def _compare(
    name: str, meter: Meter, echo: Meter, size: tuple[int, int], ratio_max: float | None = None
) -> list[Figure]:
    """CPU a request and requests a second, each beside the echo's."""
    rounds, requests = size
    for warmed in (meter, echo):
        warmed.cpu_us(requests // 4)
        warmed.rates.clear()
    cpu, echo_cpu = measure_in_turn(
        rounds, lambda: meter.cpu_us(requests), lambda: echo.cpu_us(requests)
    )
    ratios = [own / bare for own, bare in zip(cpu, echo_cpu, strict=True)]
    goal = Goal(ratio_max) if ratio_max is not None else None
    return [
        make_figure(f"{name}: CPU / echo's", "×", ratios, goal=goal),
        make_figure(f"{name}: CPU", "µs/request", cpu, anchor=ECHO, anchor_rounds=echo_cpu),
        make_figure(
            f"{name}: rate", "requests/s", meter.rates, anchor=ECHO, anchor_rounds=echo.rates
        ),
    ]


def _fill(server: ServerProcess, running: ExitStack) -> None:
    """Make the pipeline `full` hold a request: of two, one is refused, and the other is inside."""
    request = infer("full", *json_body(np.array([HELD], np.float32)))
    sockets = [
        running.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        for _ in range(2)
    ]
    for each in sockets:
        each.sendall(request)
    refused, _, _ = select.select(sockets, [], [], ANSWER_S)
    assert len(refused) == 1, "the pipeline does not hold exactly one request"
