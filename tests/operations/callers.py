"""Callers that never repeat a request, and know how long each answer took.

They speak HTTP over plain streams: a client that sends a request again by itself would hide the
server's failures.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from tests.background import Background

PAUSE_S = 0.004  # of a caller, between two requests


class Callers(Background):
    """Load from a thread of its own, from `with` to its end.

    Args:
        requests: one caller for each, with a connection that it keeps as long as the server does.
        wanted: the status that is no failure.
    """

    def __init__(
        self, port: int, requests: Sequence[bytes], *, wanted: int = 200, pause_s: float = PAUSE_S
    ) -> None:
        self.answers: list[tuple[float, float]] = []  # when it was asked, how long it took; s
        self.failures: Counter[str] = Counter()
        self._port = port
        self._requests = requests
        self._wanted = f"HTTP/1.1 {wanted} ".encode()
        self._pause_s = pause_s
        super().__init__()

    @property
    def answered(self) -> int:
        return len(self.answers)

    def p99_s(self, windows: Sequence[tuple[float, float]]) -> float:
        """Of what was asked within the windows, by `time.monotonic`."""
        took = sorted(
            took_s
            for asked_s, took_s in self.answers
            if any(start <= asked_s < end for start, end in windows)
        )
        return percentile_99(took)

    async def _run(self) -> None:
        await asyncio.gather(*(self._call(request) for request in self._requests))

    async def _call(self, request: bytes) -> None:
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._is_over:
            asked_s = time.monotonic()
            try:
                if stream is None:
                    stream = await asyncio.open_connection("127.0.0.1", self._port)
                head = await ask(*stream, request)
                if head.startswith(self._wanted):
                    self.answers.append((asked_s, time.monotonic() - asked_s))
                else:
                    self.failures[head.partition(b"\r\n")[0].decode()] += 1
                if b"\r\nconnection: close\r\n" in head.lower():
                    _close(stream)
                    stream = None
            except (OSError, asyncio.IncompleteReadError) as err:
                self.failures[repr(err)] += 1
                _close(stream)
                stream = None
            await asyncio.sleep(self._pause_s)
        _close(stream)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """The head of the answer, which is read to its end."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"\r\ncontent-length:")[2].split()[0]))
    return head


def percentile_99(ordered: Sequence[float]) -> float:
    """Of fewer than 300, the third highest: one hiccup of the machine is no percentile."""
    at = min(int(len(ordered) * 0.99), len(ordered) - 3)
    return ordered[max(0, at)] if ordered else 0.0


def _close(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if stream is not None:
        stream[1].close()
