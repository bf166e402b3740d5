"""Callers that never repeat a request: each failure they see is a failure of the server's.

aiohttp's client would send a GET again by itself; these speak HTTP over plain streams.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

from tests.background import Background

from .tree import BODY, INFER

HEAD = (
    f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n%s\r\n"
).encode()
KEEP = HEAD.replace(b"%s", b"") + BODY
ONCE = HEAD.replace(b"%s", b"Connection: close\r\n") + BODY


PAUSE_S = float(os.environ.get("SEDP_PAUSE_S", "0.01"))  # of a caller, between two requests


class Load(Background):
    """Load from a thread of its own, from `with` to its end.

    Args:
        keeping: callers that keep their connection as long as the server does.
        fresh: callers that take a new connection for each request.
    """

    def __init__(self, port: int, *, keeping: int, fresh: int) -> None:
        self.answered = 0
        self.failures: Counter[str] = Counter()
        self._port = port
        self._requests = [KEEP] * keeping + [ONCE] * fresh
        super().__init__()

    @property
    def failed(self) -> int:
        return self.failures.total()

    async def _run(self) -> None:
        await asyncio.gather(*(self._call(request) for request in self._requests))

    async def _call(self, request: bytes) -> None:
        writer: asyncio.StreamWriter | None = None
        while not self._is_over:
            await asyncio.sleep(PAUSE_S)
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
                if head.startswith(b"HTTP/1.1 200 "):
                    self.answered += 1
                else:
                    self.failures[head.partition(b"\r\n")[0].decode()] += 1
                if b"\r\nconnection: close\r\n" in head.lower():
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError) as err:
                self.failures[repr(err)] += 1
                if writer is not None:
                    writer.close()
                writer = None
        if writer is not None:
            writer.close()
