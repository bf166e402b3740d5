"""A server as its processes: what they cost, and how long they take to be ready."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load_client import Address
from bench.machine import ROOT

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
READY_WAIT_S = 60.0
STOP_WAIT_S = 20.0
SETTLE_WAIT_S = 30.0
LOOK_S = 0.5
IDLE_SHARE = 0.1  # of a core


@dataclass(frozen=True, slots=True)
class Server:
    """Running processes.

    Args:
        address: where requests go.
        pid: of what was started; its children count with it.
        ready_s: from the start to the first answer.
    """

    address: Address
    pid: int
    ready_s: float

    def cpu_s(self) -> float:
        """Processor seconds used so far, user and system."""
        return sum(_cpu_ticks(pid) for pid in self._all()) / TICKS_A_SECOND

    def settle(self) -> None:
        """Wait until it is idle, as servers go on filling caches once they are ready; not long."""
        give_up_s = time.perf_counter() + SETTLE_WAIT_S
        while time.perf_counter() < give_up_s:
            before_s = self.cpu_s()
            time.sleep(LOOK_S)
            if self.cpu_s() - before_s <= IDLE_SHARE * LOOK_S:
                return

    def memory_mb(self, kind: str) -> float:
        """Megabytes resident: `Rss` counts a page in every process, `Pss` once in all."""
        return sum(_memory_kb(pid, kind) for pid in self._all()) / 1e3

    def _all(self) -> list[int]:
        return [self.pid, *_children(self.pid)]


@contextmanager
def started(
    words: Sequence[str], environment: Mapping[str, str], port: int, probe: bytes
) -> Iterator[Server]:
    """Run a server until the block ends; it is ready, and has done what it does by itself.

    Args:
        words: of its command.
        environment: added to this process's own.
        port: that it will serve.
        probe: a request that is answered 200 once it is ready.
    """
    started_s = time.perf_counter()
    process = subprocess.Popen(
        words, env={**os.environ, **environment}, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    address = "127.0.0.1", port
    try:
        _wait_ready(process, address, probe)
        server = Server(address, process.pid, time.perf_counter() - started_s)
        server.settle()
        yield server
    finally:
        process.terminate()
        _wait_end(process)


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


def _wait_ready(process: subprocess.Popen[bytes], address: Address, probe: bytes) -> None:
    give_up_s = time.perf_counter() + READY_WAIT_S
    while time.perf_counter() < give_up_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended before it served; its message is above")
        try:
            if ask(address, probe)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} was not ready within {READY_WAIT_S:g} s")


def _wait_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
