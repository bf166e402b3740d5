"""A server as its processes: what they cost, and how long they take to be ready.

Several may be up beside each other, to be measured in turn. An idle one still takes some hundredths
of a core, which the one that is measured lacks: so it can be made to stand still.
"""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.load_client import Address
from bench.machine import ROOT

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
READY_WAIT_S = 60.0
STOP_WAIT_S = 20.0
SETTLE_WAIT_S = 30.0
LOOK_S = 0.5
LOOK_AGAIN_S = 0.01
IDLE_SHARE = 0.1  # of a core
WAKING = 20  # answers, one by one, after which who stood still has found into its step again
MESSAGE_BYTES = 4_000  # of the last that a server wrote, where it failed


@dataclass(slots=True)
class Server:
    """Running processes.

    Args:
        address: where requests go.
        process: what was started; its children count with it.
        probe: a request that is answered 200.
        ready_s: from the start to the first answer.
    """

    address: Address
    process: subprocess.Popen[bytes]
    probe: bytes
    ready_s: float = 0.0

    def cpu_s(self) -> float:
        """Processor seconds used so far, user and system."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / TICKS_A_SECOND

    def answer(self, request: bytes) -> tuple[http.client.HTTPMessage, bytes]:
        """Headers and body of its answer with status 200; asked again until it gives one.

        Raises:
            RuntimeError: it has ended, or took too long.
        """
        give_up_s, last = time.perf_counter() + READY_WAIT_S, "nothing"
        while time.perf_counter() < give_up_s:
            if self.process.poll() is not None:
                raise RuntimeError("the server ended before it served")
            with suppress(OSError, http.client.HTTPException):
                status, headers, body = ask(self.address, request)
                if status == 200:
                    return headers, body
                last = f"{status} {body[:200]!r}"
            time.sleep(LOOK_AGAIN_S)
        raise RuntimeError(f"the server had no answer within {READY_WAIT_S:g} s, but {last}")

    def settle(self) -> None:
        """Wait until it is idle, as servers go on filling caches once they are ready; not long."""
        give_up_s = time.perf_counter() + SETTLE_WAIT_S
        while time.perf_counter() < give_up_s:
            before_s = self.cpu_s()
            time.sleep(LOOK_S)
            if self.cpu_s() - before_s <= IDLE_SHARE * LOOK_S:
                return

    def pause(self) -> None:
        """Let all its processes stand still; connections wait in the kernel."""
        self._signal(signal.SIGSTOP, self.pids())  # parents first, who might miss their children

    @contextmanager
    def awake(self) -> Iterator[None]:
        """A paused server at work, and as it is when nobody has paused it."""
        self._signal(signal.SIGCONT, reversed(self.pids()))
        try:
            for _ in range(WAKING):
                self.answer(self.probe)
            yield
        finally:
            self.pause()

    def memory_mb(self, kind: str) -> float:
        """Megabytes resident: `Rss` counts a page in every process, `Pss` once in all."""
        return sum(_memory_kb(pid, kind) for pid in self.pids()) / 1e3

    def end(self) -> None:
        """Ask it to stop, and wait for that; not for long."""
        self._signal(signal.SIGCONT, reversed(self.pids()))  # who is paused hears of nothing else
        self.process.terminate()
        try:
            self.process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _signal(self, number: int, pids: Iterable[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)

    def pids(self) -> list[int]:
        """Of what was started, and then of its children and theirs."""
        return [self.process.pid, *_children(self.process.pid)]


@contextmanager
def started(
    words: Sequence[str], environment: Mapping[str, str], port: int, probe: bytes
) -> Iterator[Server]:
    """Run a server until the block ends; it is ready, and has done what it does by itself.

    What it writes is shown only if it fails, as those that were paused tell that they are late.

    Args:
        words: of its command.
        environment: added to this process's own.
        port: that it will serve.
        probe: a request that is answered 200 once it is ready.

    Raises:
        RuntimeError: it ended, or did not answer.
    """
    started_s = time.perf_counter()
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            words,
            env={**os.environ, **environment},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=messages,
        )
        server = Server(("127.0.0.1", port), process, probe)
        try:
            server.answer(probe)
            server.ready_s = time.perf_counter() - started_s
            server.settle()
            yield server
        except Exception as err:
            if process.poll() is not None or not server.ready_s:
                messages.seek(max(0, messages.seek(0, os.SEEK_END) - MESSAGE_BYTES))
                err.add_note(f"{shlex.join(words)} has written: {messages.read().decode()}")
            raise
        finally:
            server.end()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def ask(address: Address, request: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send one request's bytes; status, headers and body of the reply."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return reply.status, reply.headers, reply.read()


def _children(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, listed) for one in (child, *_children(child))]


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _memory_kb(pid: int, kind: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")), 0)
