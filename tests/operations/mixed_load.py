"""Load as a day brings it: good requests, bad ones, callers that leave or are slow.

Each kind has callers of its own, so that none waits for another. An answer other than the one its
kind must get is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import Any

import numpy as np

from tests.background import Background

from .callers import ask
from .operated import infer_body, infer_request

PIPELINED = 8
SLOW_PART_S = 0.05
BINARY_HEAD = (
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[64],'
    b'"parameters":{"binary_data_size":256}}],"parameters":{"binary_data_output":true}}'
)
BINARY = infer_request(
    "double",
    BINARY_HEAD + np.arange(64, dtype=np.float32).tobytes(),
    f"Inference-Header-Content-Length: {len(BINARY_HEAD)}",
)
GOOD = infer_request("double", infer_body(1.0, 2.5))
BAD = (
    (400, infer_request("double", b"{")),
    (404, infer_request("nobody", infer_body(1.0))),
    (400, infer_request("double", b'{"inputs":[{"name":"x","datatype":"FP32","shape":[-1]}]}')),
    (400, infer_request("double", infer_body(1.0).replace(b"FP32", b"FP64"))),
    (404, b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"),
    (405, b"GET /v2/models/double/infer HTTP/1.1\r\nHost: a\r\n\r\n"),
)


class MixedLoad(Background):
    """Load from a thread of its own, from `with` to its end.

    `requests` counts all that were sent, `failures` answers that were wrong.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.requests = 0
        self.failures: Counter[str] = Counter()
        self._port = port
        self._dice = random.Random(seed)
        super().__init__()

    async def _run(self) -> None:
        await asyncio.gather(
            self._repeat(self._be_good, GOOD),
            self._repeat(self._be_good, GOOD),
            self._repeat(self._be_good, BINARY),
            self._repeat(self._be_bad),
            self._repeat(self._leave),
            self._repeat(self._be_slow),
        )

    async def _repeat(self, act: Any, *arguments: bytes) -> None:
        while not self._is_over:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await act(reader, writer, *arguments)
            except (OSError, asyncio.IncompleteReadError) as err:
                self.failures[f"{act.__name__}: {err!r}"] += 1
            finally:
                writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _be_good(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        """Some at once, again and again, on one connection."""
        for _ in range(20):
            writer.write(request * (PIPELINED - 1))
            for turn in range(PIPELINED):
                self._judge(await ask(reader, writer, b"" if turn else request), 200)

    async def _be_bad(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, request = self._dice.choice(BAD)
        self._judge(await ask(reader, writer, request), status)

    async def _leave(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In the middle of a request, or right behind it."""
        self.requests += 1
        writer.write(GOOD[: self._dice.randint(1, len(GOOD))])
        await asyncio.sleep(self._dice.choice([0, 0.001]))

    async def _be_slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """But not slower than is allowed."""
        for at in range(0, len(GOOD) - 1, 40):
            writer.write(GOOD[at : min(at + 40, len(GOOD) - 1)])
            await asyncio.sleep(SLOW_PART_S)
        self._judge(await ask(reader, writer, GOOD[-1:]), 200)

    def _judge(self, head: bytes, status: int) -> None:
        self.requests += 1
        line = head.partition(b"\r\n")[0].decode()
        if not line.startswith(f"HTTP/1.1 {status} "):
            self.failures[f"{line} instead of {status}"] += 1
