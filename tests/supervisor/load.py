"""Callers that never repeat a request: each failure they see is a failure of the server's.

aiohttp's client would send a GET again by itself; these speak HTTP over plain streams.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

from tests.background import Background

from .tree import BODY, INFER, wait_for

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
        looks: they look whether a connection was closed before they use it again; else a request
            on it fails.
    """

    def __init__(self, port: int, *, keeping: int, fresh: int, looks: bool = False) -> None:
        self.answered = 0
        self.in_flight = 0
        self.failures: Counter[str] = Counter()
        self._looks = looks
        self._port = port
        self._requests = [KEEP] * keeping + [ONCE] * fresh
        super().__init__()

    @property
    def failed(self) -> int:
        return self.failures.total()

    def kill(self, pid: int) -> int:
        """Kill a process; the requests that were in flight then, of all callers.

        No caller goes on before the process is gone with all its connections, so that no request
        is sent to one that is dying.
        """
        found: Future[int] = Future()

        def kill() -> None:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not Path(f"/proc/{pid}").exists())
            found.set_result(self.in_flight)

        self._loop.call_soon_threadsafe(kill)
        return found.result()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(self._call(request) for request in self._requests))

    async def _call(self, request: bytes) -> None:
        writer: asyncio.StreamWriter | None = None
        while not self._is_over:
            await asyncio.sleep(PAUSE_S)
            if self._looks and writer is not None and _is_closed(writer):
                writer.close()
                writer = None
            self.in_flight += 1
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
            finally:
                self.in_flight -= 1
        if writer is not None:
            writer.close()


def _is_closed(writer: asyncio.StreamWriter) -> bool:
    """By the other side; nothing else can be read of a connection that waits for a request."""
    if writer.is_closing():
        return True
    return bool(select.select([writer.get_extra_info("socket")], [], [], 0)[0])
