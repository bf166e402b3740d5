"""A load generator that costs little beside what it measures: bytes made before, replies skimmed.

*Closed loop*: each connection asks again as soon as it is answered; it finds the greatest
throughput. *Open loop*: requests fall due by a Poisson process whether or not earlier ones are
answered; latency counts from the due time, also while a request waits here for a free connection,
so that a stall cannot hide. What is refused, broken, or not answered within a second has an
infinite latency. Where the client itself may be too slow, `Offered` says how late it sent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import cast

import numpy as np
from numpy.typing import NDArray

TIMEOUT_NS = 1_000_000_000
CLOSE_WAIT_NS = 3_000_000_000
TICK_S = 0.001  # the loop's timers know milliseconds
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
OK = b"200"

Address = tuple[str, int]
Done = Callable[["Connection", bool], None]


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it.

    Args:
        done: told when a reply is whole, and whether its status was 200.
    """

    def __init__(self, done: Done) -> None:
        self.request = -1
        self.is_busy = False
        self.reply = b""  # the last whole one
        self._done = done
        self._reply = b""
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def send(self, request: int, data: bytes) -> None:
        self.request = request
        self.is_busy = True
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        reply = self._reply + data if self._reply else data
        if not self._size:
            head = reply.find(b"\r\n\r\n")
            length = LENGTH.search(reply, 0, head + 1) if head >= 0 else None
            self._size = head + 4 + int(length[1]) if length else 0
        if not self._size or len(reply) < self._size:
            self._reply = reply
            return
        self._reply, self._size = b"", 0
        self.is_busy = False
        self.reply = reply
        self._done(self, reply[9:12] == OK)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_busy:  # what was asked is as good as refused
            self.is_busy = False
            self._done(self, False)


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """What a closed loop reached: answers with status 200, other replies, seconds."""

    answers: int
    refusals: int
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


async def connect(address: Address, count: int, done: Done) -> list[Connection]:
    """So many connections."""
    loop = asyncio.get_running_loop()
    made = []
    host, port = address
    for _ in range(count):
        _, connection = await loop.create_connection(lambda: Connection(done), host, port)
        made.append(connection)
    return made


async def close(connections: Sequence[Connection]) -> None:
    """Close them once their last replies are in, so that the server is idle for what comes next."""
    give_up_ns = time.monotonic_ns() + CLOSE_WAIT_NS
    while time.monotonic_ns() < give_up_ns and any(one.is_busy for one in connections):
        await asyncio.sleep(TICK_S)
    for connection in connections:
        connection.transport.abort()


async def closed_loop(
    address: Address, requests: Sequence[bytes], connections: int, seconds: float
) -> ClosedRun:
    """Keep `connections` requests under way for a while."""
    counts = [0, 0]
    next_request = 0
    stop_ns = 0

    def ask(connection: Connection) -> None:
        nonlocal next_request
        connection.send(next_request, requests[next_request % len(requests)])
        next_request += 1

    def done(connection: Connection, ok: bool) -> None:
        if time.monotonic_ns() < stop_ns:
            counts[ok] += 1
            if not connection.transport.is_closing():
                ask(connection)

    opened = await connect(address, connections, done)
    started_ns = time.monotonic_ns()
    stop_ns = started_ns + int(seconds * 1e9)
    for connection in opened:
        ask(connection)
    await asyncio.sleep(seconds)
    taken_s = (time.monotonic_ns() - started_ns) / 1e9
    await close(opened)
    return ClosedRun(counts[1], counts[0], taken_s)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What falls due in an open loop, and when.

    Args:
        after_ns: int64[n], ascending, from the start.
        picks: int64[n], which of the requests is sent; by turns when `None`.
        retries: how often a request that is refused is sent again, as naive callers do.
        pause_ns: until then; it falls due anew. With 0 it is sent at once, and its time goes on.
    """

    after_ns: NDArray[np.int64]
    picks: NDArray[np.int64] | None = None
    retries: int = 0
    pause_ns: int = 0


def poisson(rate: float, seconds: float, seed: int) -> Schedule:
    """Independent callers, `rate` a second on average."""
    dice = np.random.default_rng(seed)
    gaps_ns = dice.exponential(1e9 / rate, max(1, int(rate * seconds)))
    return Schedule(np.cumsum(gaps_ns).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Offered:
    """What came of an open loop, one entry a request.

    Args:
        due_ns: int64[n], when it last fell due, on the clock `time.monotonic_ns`.
        latencies: float64[n], seconds from then, `inf` where there was no answer.
        late_s: float64[n], from the due time until it was first sent, `inf` if it never was: more
            than a few milliseconds is the client's own slowness, or want of a free connection.
        replies: whole answers with status 200, `b""` for others; empty if they were not kept.
    """

    due_ns: NDArray[np.int64]
    latencies: NDArray[np.float64]
    late_s: NDArray[np.float64]
    replies: Sequence[bytes]


async def open_loop(
    address: Address, requests: Sequence[bytes], connections: int, schedule: Schedule
) -> NDArray[np.float64]:
    """Latencies alone; see `offer`."""
    return (await offer(address, requests, connections, schedule)).latencies


async def offer(
    address: Address,
    requests: Sequence[bytes],
    connections: int,
    schedule: Schedule,
    *,
    keep: bool = False,
) -> Offered:
    """Send everything when it falls due.

    Args:
        connections: open from the start; requests that find all of them busy wait here. One that
            the server closes is not opened again.
        keep: whether to keep the answers.
    """
    run = _OpenRun(requests, schedule, keep)
    opened = await connect(address, connections, run.done)
    try:
        await run.send_all(opened)
    finally:
        await close(opened)
    return run.result()


class _OpenRun:
    """One open loop under way."""

    def __init__(self, requests: Sequence[bytes], schedule: Schedule, keep: bool) -> None:
        count = len(schedule.after_ns)
        picks = np.arange(count) if schedule.picks is None else schedule.picks
        self._picks = (picks % len(requests)).tolist()
        self._after_ns = schedule.after_ns
        self._due_ns: list[int] = []
        self._sent_ns = [0] * count
        self._ended_ns = [0] * count
        self._replies = [b""] * count if keep else []
        self._retries = [schedule.retries] * count
        self._pause_ns = schedule.pause_ns
        self._again: list[tuple[int, int]] = []  # a heap: when which is sent again
        self._requests = requests
        self._idle: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._next = 0
        self._left = count
        self._last_ns = 0  # when the last one falls due

    async def send_all(self, connections: list[Connection]) -> None:
        self._idle = connections.copy()
        self._due_ns = (self._after_ns + time.monotonic_ns()).tolist()
        self._last_ns = self._due_ns[-1]
        while self._left and time.monotonic_ns() < self._last_ns + TIMEOUT_NS:
            await asyncio.sleep(TICK_S)  # what has no end by then is not answered
            self._send_due()

    def _send_due(self) -> None:
        now_ns, due_ns = time.monotonic_ns(), self._due_ns
        while self._next < len(due_ns) and due_ns[self._next] <= now_ns:
            self._waiting.append(self._next)
            self._next += 1
        while self._again and self._again[0][0] <= now_ns:
            self._waiting.append(heappop(self._again)[1])
        while self._waiting and self._idle:
            if self._idle[-1].transport.is_closing():
                self._idle.pop()
                continue
            request = self._waiting.popleft()
            if now_ns - due_ns[request] < TIMEOUT_NS:
                self._sent_ns[request] = self._sent_ns[request] or now_ns
                self._idle.pop().send(request, self._requests[self._picks[request]])
            else:
                self._left -= 1  # nobody waits for it any more

    def done(self, connection: Connection, ok: bool) -> None:
        request = connection.request
        self._idle.append(connection)
        if not ok and self._retries[request]:
            self._retries[request] -= 1
            self._ask_again(request)
        else:
            self._ended_ns[request] = time.monotonic_ns() if ok else 0
            if ok and self._replies:
                self._replies[request] = connection.reply
            self._left -= 1
        self._send_due()

    def _ask_again(self, request: int) -> None:
        if self._pause_ns:
            due_ns = time.monotonic_ns() + self._pause_ns
            self._due_ns[request] = due_ns
            self._last_ns = max(self._last_ns, due_ns)
            heappush(self._again, (due_ns, request))
        else:
            self._waiting.append(request)

    def result(self) -> Offered:
        due, sent, ended = (np.array(ns) for ns in (self._due_ns, self._sent_ns, self._ended_ns))
        answered = (ended > 0) & (ended - due <= TIMEOUT_NS)
        return Offered(
            due,
            np.where(answered, (ended - due) / 1e9, np.inf),
            np.where(sent > 0, (sent - due) / 1e9, np.inf),
            self._replies,
        )
