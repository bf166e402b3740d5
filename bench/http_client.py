"""A closed-loop client that costs little: the same bytes again and again on some connections."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import cast

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"


class Caller(asyncio.Protocol):
    """One connection that sends its next request when an answer is complete."""

    def __init__(self, request: bytes, run: Run) -> None:
        self._request = request
        self._run = run
        self._received = bytearray()
        self._due = 0  # bytes of the answer under way; 0 until its head is complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are, but not by class
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._due:
            end = self._received.find(HEAD_END)
            if end < 0:
                return
            length = LENGTH.search(self._received, 0, end + 2)
            assert length is not None, "an answer without a length"
            self._due = end + len(HEAD_END) + int(length[1])
        if len(self._received) >= self._due:
            self._run.statuses[bytes(self._received[9:12])] += 1
            self._received.clear()
            self._due = 0
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._run.left > 0:
            self._run.fail(exc)

    def _ask(self) -> None:
        if self._run.take():
            self._transport.write(self._request)
        else:
            self._transport.close()


class Run:
    """Requests still to be sent, and the statuses that came back."""

    def __init__(self, requests: int, callers: int) -> None:
        self.left = requests
        self.statuses: Counter[bytes] = Counter()
        self._callers = callers
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> bool:
        if self.left > 0:
            self.left -= 1
            return True
        self._callers -= 1
        if not self._callers and not self._done.done():
            self._done.set_result(None)
        return False

    def fail(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed a connection"))

    async def wait(self) -> None:
        await self._done


async def call(
    port: int, request: bytes, requests: int, callers: int
) -> tuple[float, Counter[bytes]]:
    """Send `requests` copies of `request` on `callers` connections.

    Returns:
        Seconds taken, and how often each status came back.
    """
    loop = asyncio.get_running_loop()
    run = Run(requests, callers)
    started = time.perf_counter()
    for _ in range(callers):
        await loop.create_connection(lambda: Caller(request, run), "127.0.0.1", port)
    await run.wait()
    return time.perf_counter() - started, run.statuses
