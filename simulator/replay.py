"""Replay: recorded requests, sent to a running daemon at their times and come what may.

*Open loop*: a request's time to be sent does not depend on the answers before it, as callers do
not wait for each other. Latency counts from that intended time, also when this client is late, so
a stall of the daemon cannot hide by slowing the questions down (coordinated omission). Each
request is sent once; what is not answered is counted, never left out and never sent again.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.errors import SedpError
from sedp.simulator.oip_client import (
    MalformedAnswer,
    ModelMetadata,
    RequestEncoder,
    decode_answer,
    decode_metadata,
)
from sedp.simulator.recording import Recording

OK = 200
TIMEOUT = -1  # in `status`: no answer in time
CONNECTION = -2  # refused, reset or broken
MALFORMED = -3  # said 200, but the answer is not one
STATUS_NAMES = {TIMEOUT: "timeout", CONNECTION: "connection", MALFORMED: "malformed"}

START_DELAY_NS = 50_000_000  # before the first request, so that it too can be punctual
IN_FLIGHT_LIMIT = 512  # select() watches file descriptors up to 1023


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to send.

    Args:
        url: of the daemon, without path.
        pipeline: its name.
        score: the output that holds one FP32 score an item.
        in_flight_max: requests unanswered at once, 1 to `IN_FLIGHT_LIMIT`; the next one waits,
            and its latency with it.
        timeout_ns: for an answer, from the sending.
    """

    url: str
    pipeline: str
    score: str = "score"
    in_flight_max: int = 256
    timeout_ns: int = 2_000_000_000


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """What was sent and what came back, in the recording's order.

    Args:
        due_ns: int64[r], intended send times from 0.
        late_ns: int64[r], how much later this client sent.
        latency_ns: int64[r], from the intended send time to the end, whatever it was.
        status: int16[r], HTTP status or one of the negative constants.
        scores: float32[rows], NaN where unanswered.
        errors: the first message of each status that is a failure.
    """

    due_ns: NDArray[np.int64]
    late_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    status: NDArray[np.int16]
    scores: NDArray[np.float32]
    errors: dict[int, str] = field(default_factory=dict)


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are exact to some 0.1 ms; those on epoll round up to 1 ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def replay(
    target: Target,
    recording: Recording,
    due_ns: NDArray[np.int64],
    progress: Callable[[int], None],
) -> ReplayedRun:
    """Send every request of the recording.

    Args:
        due_ns: int64[r], ascending from about 0: when to send each.
        progress: told how many more requests have ended.

    Raises:
        SedpError: the daemon cannot be reached, or does not know the pipeline.
        ConfigError: the recording does not fit the pipeline's inputs.
    """
    connector = aiohttp.TCPConnector(limit=target.in_flight_max)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=target.timeout_ns / 1e9),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        auto_decompress=False,
    ) as session:
        metadata = await _metadata(session, target)
        encoder = RequestEncoder(recording, metadata.inputs)
        sender = _Sender(session, target, recording, encoder, due_ns, progress)
        await sender.send_all()
        return sender.run


class _Sender:
    """One replay under way."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        target: Target,
        recording: Recording,
        encoder: RequestEncoder,
        due_ns: NDArray[np.int64],
        progress: Callable[[int], None],
    ) -> None:
        count = len(recording)
        self.run = ReplayedRun(
            due_ns,
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.int16),
            np.full(recording.row_count, np.nan, np.float32),
        )
        self._session = session
        self._url = f"{target.url}/v2/models/{target.pipeline}/infer"
        self._score = target.score
        self._splits = recording.splits.tolist()
        self._encoder = encoder
        self._progress = progress
        self._slots = asyncio.Semaphore(target.in_flight_max)

    async def send_all(self) -> None:
        start_ns = time.monotonic_ns() + START_DELAY_NS
        async with asyncio.TaskGroup() as group:
            for request, after_ns in enumerate(self.run.due_ns.tolist()):
                headers, body = self._encoder.encode(request)
                await self._slots.acquire()
                due_ns = start_ns + after_ns
                while (left_ns := due_ns - time.monotonic_ns()) > 0:
                    await asyncio.sleep(left_ns / 1e9)
                group.create_task(self._send(request, due_ns, headers, body))

    async def _send(
        self, request: int, due_ns: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        self.run.late_ns[request] = time.monotonic_ns() - due_ns
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = await response.read()
            self.run.latency_ns[request] = time.monotonic_ns() - due_ns
            status, error = self._take(request, response, answer)
        except TimeoutError:
            status, error = TIMEOUT, "no answer in time"
        except aiohttp.ClientError as err:
            status, error = CONNECTION, f"{type(err).__name__}: {err}"
        finally:
            self._slots.release()
        if status < 0:
            self.run.latency_ns[request] = time.monotonic_ns() - due_ns
        self.run.status[request] = status
        if error:
            self.run.errors.setdefault(status, error)
        self._progress(1)

    def _take(
        self, request: int, response: aiohttp.ClientResponse, answer: bytes
    ) -> tuple[int, str]:
        """Keep the scores of an answer; its status, and what is wrong with it."""
        if response.status != OK:
            return response.status, _error_text(answer)
        start, stop = self._splits[request : request + 2]
        try:
            scores = decode_answer(response.headers, answer)[self._score].reshape(-1)
        except MalformedAnswer as err:
            return MALFORMED, str(err)
        except KeyError:
            return MALFORMED, f"the answer has no output {self._score!r}; name it with --score"
        if len(scores) != stop - start or not np.isfinite(scores).all():
            return MALFORMED, f"{len(scores)} scores for {stop - start} items, or not all finite"
        self.run.scores[start:stop] = scores
        return OK, ""


async def _metadata(session: aiohttp.ClientSession, target: Target) -> ModelMetadata:
    url = f"{target.url}/v2/models/{target.pipeline}"
    try:
        async with session.get(url) as response:
            body = await response.read()
    except (aiohttp.ClientError, TimeoutError) as err:
        raise SedpError(f"{url}: no daemon answers ({err}); is `sedp serve` running?") from err
    if response.status != OK:
        raise SedpError(f"{url}: status {response.status}: {_error_text(body)}")
    return decode_metadata(body)


class _Error(msgspec.Struct, frozen=True):
    error: str


def _error_text(body: bytes) -> str:
    """The message of an error answer, shortened; the raw text when it is not in the usual form."""
    try:
        text = msgspec.json.decode(body, type=_Error).error
    except msgspec.MsgspecError:
        text = body.decode(errors="replace")
    return text if len(text) <= 200 else f"{text[:199]}…"
