"""A worker as its supervisor sees it: a process, a channel to it, and what is known of it.

That a process has ended is seen through its pidfd.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sedp.daemon.http.acceptor import ABSENT, ConnectionCounts
from sedp.daemon.monitoring import merging
from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.errors import SedpError
from sedp.supervisor import messages
from sedp.supervisor.channel import Channel, ChannelClosed
from sedp.supervisor.launch import Launched

ABORT_S = 1.0  # for a hanging process to show its stack
EXIT_S = 2.0  # for a process that has nothing left to do

log = logging.getLogger(__name__)


class State(enum.StrEnum):
    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    DEAD = "dead"


class WorkerProcess:
    """Make it with `WorkerProcess.adopt`.

    Args:
        counts: where it counts its connections.
        channel: to it.
    """

    def __init__(self, launched: Launched, counts: ConnectionCounts, channel: Channel) -> None:
        self.number = launched.number
        self.slot = launched.slot
        self.pid = launched.process.pid
        self.state = State.STARTING
        self.begun: messages.Begin | None = None
        self.exited = asyncio.Event()
        self.heard_ns = 0  # when it gave its last sign of life, on the monotonic clock
        self.last: DaemonStatistics | None = None
        self._ready_ns = self._ended_ns = 0
        self._started_s = time.time()
        self._counts = counts
        self._process = launched.process
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._talking = self._loop.create_task(channel.run())
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    async def adopt(
        cls,
        launched: Launched,
        counts: ConnectionCounts,
        answering: Callable[[messages.Question, WorkerProcess], Awaitable[object]],
    ) -> WorkerProcess:
        """Look after a process that was started.

        Args:
            counts: where it counts its connections.
            answering: of its questions and notices.
        """

        async def answer(question: messages.Question) -> object:
            worker.heard_ns = time.monotonic_ns()
            return await answering(question, worker)

        worker = cls(launched, counts, await Channel.open(launched.end, answer))
        return worker

    async def begin(self, begin: messages.Begin) -> None:
        """Let it serve; returns when it does.

        Raises:
            SedpError: why it does not; it is of no use any more.
        """
        self.begun = begin
        try:
            await self._channel.ask(begin)
        except ChannelClosed as err:
            await self.exited.wait()
            raise WorkerDied(f"a worker {self.ending} before it was ready") from err
        self.state = State.READY
        self.heard_ns = self._ready_ns = time.monotonic_ns()

    async def ask(self, question: messages.Question, result: Any = None) -> Any:
        return await self._channel.ask(question, result)

    async def tell_statistics(self, timeout_s: float) -> DaemonStatistics | None:
        """Its own; the last ones known when it does not answer in time; `None` without any."""
        if self.state is State.STARTING:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                self.last = await self._channel.ask(messages.Tell(), DaemonStatistics)
        except (TimeoutError, SedpError):
            if self.last is not None and self.state is State.DEAD:
                return merging.past(self.last)
        return self.last

    async def retire(self, timeout_s: float) -> None:
        """Let it answer what it has, and end."""
        if self.state is State.READY:
            self.state = State.LEAVING
            try:
                async with asyncio.timeout(timeout_s):
                    self.last = await self._channel.ask(messages.Retire(), DaemonStatistics)
            except (TimeoutError, SedpError) as err:
                log.warning("worker %d (pid %d) did not leave: %s", self.number, self.pid, err)
        await self.end()

    async def stop(self, timeout_s: float) -> int:
        """Let it drain, and end; the number of events that were cut off.

        Raises:
            SedpError: it died, or did not answer in time.
        """
        cut = 0
        try:
            async with asyncio.timeout(timeout_s):
                if self.state is State.READY:
                    self.state = State.LEAVING
                    cut = await self._channel.ask(messages.Stop(), int)
                elif self.state is State.LEAVING:
                    self._channel.close()  # it drains already
                    await self.exited.wait()
        except TimeoutError:
            raise SedpError(f"worker {self.number} (pid {self.pid}) does not answer") from None
        except ChannelClosed:
            await self.exited.wait()
            text = f"worker {self.number} (pid {self.pid}) {self.ending} while it drained"
            raise SedpError(text) from None
        finally:
            await self.end()
        return cut

    async def end(self) -> None:
        """Hang up, which ends a process that serves no more, and make sure of it."""
        if self.state is State.STARTING:
            self.kill()
        self._channel.close()
        try:
            async with asyncio.timeout(EXIT_S):
                await self.exited.wait()
        except TimeoutError:
            self.kill()
            await self.exited.wait()

    def abort(self) -> None:
        """End a process that hangs; its stack goes to the log, if it still can."""
        self.state = State.LEAVING
        self._process.send_signal(signal.SIGABRT)
        self._loop.call_later(ABORT_S, self.kill)

    def kill(self) -> None:
        if not self.exited.is_set():
            self._process.kill()

    @property
    def served_ns(self) -> int:
        """How long it was ready; of one that ended."""
        return self._ended_ns - self._ready_ns if self._ready_ns else 0

    @property
    def ending(self) -> str:
        """How the process ended."""
        code = self._process.returncode
        if code is None:
            return "went on"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def describe(self, restarts: int, stalls: int) -> WorkerState:
        held = self._counts[self.slot] if self.state is not State.DEAD else ABSENT
        return WorkerState(
            pid=self.pid,
            state=self.state,
            started_s=self._started_s,
            restarts=restarts,
            rss_bytes=_rss_bytes(self.pid) if self.state is not State.DEAD else 0,
            number=self.number,
            connections=0 if held == ABSENT else held,
            stalls=stalls,
        )

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._ended_ns = time.monotonic_ns()
        self.state = State.DEAD
        self._counts.clear(self.slot)
        self._channel.close()
        self.exited.set()


class WorkerDied(SedpError):
    """A worker ended without a word."""


def _rss_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0  # it has just ended
    return pages * os.sysconf("SC_PAGE_SIZE")
