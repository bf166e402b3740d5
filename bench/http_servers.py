"""The servers of bench `http` as processes: their port, and the CPU they have used."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT

CONFIG = """
api_version: sedp/v1
daemon: {{listen: "127.0.0.1:0", admin: "127.0.0.1:0", workers: {workers}, drain: 0s}}
pipelines:
  pass:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    stages: {{s: {{kind: "bench.http_stages:PassOn", executor: inline}}}}
  full:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    deadline: 1h
    in_flight_max: 1
    stages: {{s: {{kind: "bench.http_stages:Hold", executor: thread}}}}
"""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that runs; `pid` is the process that was started."""

    port: int
    pid: int

    def cpu_ns(self) -> int:
        """CPU time so far of the process and its children, all their threads, exact."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        # clock_getcpuclockid(3) of a process is this number; Python does not wrap it.
        return sum(
            time.clock_gettime_ns((~pid << 3) | 2) for pid in (self.pid, *map(int, children))
        )


@contextmanager
def run_echo() -> Iterator[ServerProcess]:
    """aiohttp's server sending every body back."""
    with _run("bench.http_echo") as server:
        yield server


@contextmanager
def run_sedp(folder: Path, workers: int) -> Iterator[ServerProcess]:
    """A daemon with a pipeline `pass` that does nothing, and one, `full`, that never ends.

    Args:
        folder: to write the config into.
    """
    config = folder / f"http-{workers}.yaml"
    config.write_text(CONFIG.format(workers=workers))
    with _run("sedp", "serve", str(config)) as server:
        yield server


@contextmanager
def _run(module: str, *arguments: str) -> Iterator[ServerProcess]:
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            yield ServerProcess(_port(process.stdout), process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _port(lines: Iterator[str]) -> int:
    """Servers print their address once they are ready."""
    for line in lines:
        if found := re.search(r"inference +http://[^/]+:(\d+)/v2", line):
            return int(found[1])
    raise RuntimeError("the server ended before it served; its own message is above")
