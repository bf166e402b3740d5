"""A worker as its supervisor sees it: a process, a channel to it, and what is known of it.

Workers are fresh interpreters, never forks: a fork copies locks that threads hold, and neither
gRPC, LMDB nor RocksDB survives that. The end of a process is seen through its pidfd.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sedp.daemon import merging
from sedp.daemon.acceptor import ABSENT, ConnectionCounts
from sedp.daemon.doors import Doors
from sedp.daemon.statistics import DaemonStatistics, WorkerState
from sedp.errors import SedpError
from sedp.supervisor import messages
from sedp.supervisor.channel import Channel, ChannelClosed

ABORT_S = 1.0  # for a hanging process to show its stack
EXIT_S = 2.0  # for a process that has nothing left to do

log = logging.getLogger(__name__)


class State(enum.StrEnum):
    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What all workers are given.

    Args:
        counts: of connections; a worker writes to its own slot.
        use: file descriptor of what tenants use, see `SharedUse`.
    """

    doors: Doors
    counts: ConnectionCounts
    use: int


class WorkerProcess:
    """Make it with `WorkerProcess.spawn`.

    Args:
        number: of its place, from 0.
        slot: of its connections in the counts.
    """

    def __init__(
        self,
        number: int,
        slot: int,
        counts: ConnectionCounts,
        process: subprocess.Popen[bytes],
        channel: Channel,
    ) -> None:
        self.number = number
        self.slot = slot
        self.pid = process.pid
        self.state = State.STARTING
        self.begun: messages.Begin | None = None
        self.addresses = messages.Addresses("", None)
        self.exited = asyncio.Event()
        self.heard_ns = 0  # when it gave its last sign of life, on the monotonic clock
        self._ready_ns = self._ended_ns = 0
        self.last: DaemonStatistics | None = None
        self._started_s = time.time()
        self._counts = counts
        self._process = process
        self._channel = channel
        self._talking = asyncio.get_running_loop().create_task(channel.run())
        self._pidfd = os.pidfd_open(process.pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    async def spawn(
        cls,
        number: int,
        slot: int,
        inheritance: Inheritance,
        answering: Callable[[messages.Question, WorkerProcess], Awaitable[object]],
        *,
        is_quiet: bool,
    ) -> WorkerProcess:
        """Start a process; it imports what it needs, then waits for `begin`.

        Args:
            answering: of its questions and notices.
            is_quiet: it says nothing before it serves.

        Raises:
            SedpError: the system starts no more processes.
        """

        async def answer(question: messages.Question) -> object:
            worker.heard_ns = time.monotonic_ns()
            return await answering(question, worker)

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel = await Channel.open(ours, answer)
        try:
            with theirs:
                process = _start(number, slot, inheritance, theirs.fileno(), is_quiet)
        except OSError as err:
            channel.close()
            raise SedpError(f"worker {number} cannot be started: {err.strerror}") from err
        worker = cls(number, slot, inheritance.counts, process, channel)
        return worker

    async def begin(self, begin: messages.Begin) -> None:
        """Let it serve; returns when it does.

        Raises:
            SedpError: why it does not; it is of no use any more.
        """
        self.begun = begin
        try:
            self.addresses = await self._channel.ask(begin, messages.Addresses)
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


def _start(
    number: int, slot: int, inheritance: Inheritance, channel: int, is_quiet: bool
) -> subprocess.Popen[bytes]:
    doors, counts = inheritance.doors, inheritance.counts
    grpc = None if doors.grpc is None else doors.grpc.fileno()
    inherited = {
        "number": number,
        "slot": slot,
        "channel": channel,
        "data": doors.data.fileno(),
        "grpc": grpc,
        "counts": counts.fd,
        "use": inheritance.use,
        "is_quiet": is_quiet,
    }
    # As the supervisor itself: with the working directory in the path only if it is there already.
    safe_path = [] if str(Path.cwd()) in sys.path else ["-P"]
    fds = [channel, doors.data.fileno(), grpc, counts.fd, inheritance.use]
    module = ["-m", "sedp.supervisor"]
    return subprocess.Popen(
        [sys.executable, *safe_path, *module, msgspec.json.encode(inherited).decode()],
        stdin=subprocess.DEVNULL,
        pass_fds=[fd for fd in fds if fd is not None],
    )


def _rss_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0  # it has just ended
    return pages * os.sysconf("SC_PAGE_SIZE")
