"""Questions and answers over a socket pair, both ways at once.

A frame is its length, four bytes, and msgpack. When the other side is gone, whoever waits for its
answer is told so, and `run` returns: neither side ever waits for a process that does not exist.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sedp.errors import SedpError
from sedp.supervisor.messages import Answer, Done, Failed, Frame, Question

FRAME_BYTES_MAX = 64 << 20  # statistics of 64 pipelines of 64 stages take a quarter of it
PENDING_MAX = 1024  # questions of the other side that are being answered
LENGTH_BYTES = 4

log = logging.getLogger(__name__)

Answering = Callable[[Question], Awaitable[object]]


class ChannelClosed(SedpError):
    """The other side is gone."""


class Channel:
    """One end; make it with `Channel.open`, and keep `run` running.

    Args:
        answering: called with each question; returns what msgpack can hold, raises `SedpError`.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answering: Answering
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answering = answering
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Frame)

    @classmethod
    async def open(cls, end: socket.socket, answering: Answering) -> Channel:
        """Args: end: of a Unix stream socket pair; closed with the channel."""
        return cls(*await asyncio.open_unix_connection(sock=end), answering)

    async def ask(self, question: Question, result: Any = None) -> Any:
        """What the other side answers, as of type `result`.

        Raises:
            SedpError: as the other side raised it.
            ChannelClosed: the other side is gone, or goes before it answers.
        """
        if self._writer.is_closing():
            raise ChannelClosed("the other process is gone")
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(number, question)
            answer = await future
        finally:
            del self._waiting[number]
        if isinstance(answer, Failed):
            raise answer.error()
        return msgspec.msgpack.decode(answer.result, type=result)

    def tell(self, notice: Question) -> None:
        """Say something that has no answer; nothing when the other side is gone."""
        if not self._writer.is_closing():
            self._send(0, notice)

    async def run(self) -> None:
        """Serve both directions until the other side is gone."""
        try:
            while True:
                self._receive(await self._read())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (msgspec.MsgspecError, UnicodeDecodeError) as err:
            log.error("the other process sends what is no message: %s", err)
        finally:
            self.close()

    def close(self) -> None:
        self._writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ChannelClosed("the other process is gone"))

    async def flush(self) -> None:
        """Wait until all that was said is with the kernel, or the other side is gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def _read(self) -> Frame:
        length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
        if length > FRAME_BYTES_MAX:
            raise ConnectionError(f"a frame of {length} bytes is above {FRAME_BYTES_MAX}")
        return self._decoder.decode(await self._reader.readexactly(length))

    def _receive(self, frame: Frame) -> None:
        if isinstance(frame.message, Done | Failed):
            future = self._waiting.get(frame.number)
            if future is not None and not future.done():  # else nobody waits for it any more
                future.set_result(frame.message)
            return
        if len(self._tasks) >= PENDING_MAX:
            self._send(frame.number, Failed("SedpError", f"{PENDING_MAX} questions are open"))
            return
        task = asyncio.get_running_loop().create_task(self._answer(frame.number, frame.message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, question: Question) -> None:
        answer: Answer
        try:
            result = await self._answering(question)
            answer = Done(msgspec.Raw(self._encoder.encode(result)))
        except SedpError as err:
            answer = Failed.of(err)
        except Exception as err:
            log.exception("%s failed", type(question).__name__)
            answer = Failed("SedpError", f"{type(question).__name__} failed: {err!r}")
        if number and not self._writer.is_closing():
            self._send(number, answer)

    def _send(self, number: int, message: Question | Answer) -> None:
        content = self._encoder.encode(Frame(number, message))
        assert len(content) <= FRAME_BYTES_MAX
        self._writer.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
