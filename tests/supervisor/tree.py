"""`sedp serve` with several workers as processes of their own, on loopback."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import urllib3

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1.0,2.5]}]}'
INFER = "/v2/models/double/infer"

CONFIG = """\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, drain: {drain}, workers: {workers}}}
pipelines:
  double:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    deadline: {deadline}
    stages:
      s: {{kind: "mine:{stage}", executor: {executor}}}
"""

# What a stage is told from outside, it is told by files beside the config.
STAGES = """\
import os
import time
import numpy as np
from sedp.columns import ColumnSpec, Level
from sedp.stage import Stage

FLOATS = ColumnSpec("FP32", Level.ITEM)


class Double(Stage):
    @property
    def requires(self):
        return {"x": FLOATS}

    def provides(self, inputs):
        return {"y": FLOATS}

    def open(self, resources):
        self.folder = resources.base_path

    def process(self, batch):
        return {"y": batch["x"] * 2}


class Gate(Double):
    def process(self, batch):
        while (self.folder / "shut").exists():
            (self.folder / "entered").touch()
            time.sleep(0.002)
        return super().process(batch)


class Hang(Double):
    def process(self, batch):
        if batch["x"][0] == 13:
            (self.folder / str(os.getpid())).touch()
            time.sleep(600)
        return super().process(batch)


class Look(Double):  # the first number of a row, by the key in `x`
    def open(self, resources):
        self.table = resources.store.table("fm")

    def process(self, batch):
        keys = batch["x"].astype(np.uint64)
        rows = np.empty((len(keys), 1), np.float32)
        self.table.lookup(keys, rows, np.empty(len(keys), np.bool_))
        return {"y": rows[:, 0]}


class Keeper(Double):
    def feedback(self, users, now_ns):
        (self.folder / f"heard-{os.getpid()}").write_text(str(users.tolist()))


class Broken(Double):
    def open(self, resources):
        raise OSError("no model")


class Crash(Double):
    def open(self, resources):
        os.kill(os.getpid(), 9)
"""


class Tree:
    """A running daemon and its workers."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process
        self.banner = ""
        self._http = urllib3.PoolManager(retries=False)

    def read_banner(self) -> None:
        assert self.process.stdout is not None
        while "curl" not in self.banner:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.banner += line

    @property
    def data_port(self) -> int:
        return int(self._found(r"inference +http://127.0.0.1:(\d+)/v2"))

    @property
    def data(self) -> str:
        return f"http://127.0.0.1:{self.data_port}"

    @property
    def admin(self) -> str:
        return self._found(r"status +(http://[^/]+)/")

    def ask(self, url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        response = self._http.request(method, url, body=body)
        return response.status, response.data

    def infer(self, body: bytes = BODY) -> int:
        """The status, on a connection of its own."""
        headers = {"Connection": "close"}
        return urllib3.request(
            "POST", self.data + INFER, body=body, headers=headers, retries=False
        ).status

    def change(self, path: str, asked: object = None) -> tuple[int, Any]:
        """What an admin call answers."""
        sent = None if asked is None else orjson.dumps(asked)
        status, body = self.ask(self.admin + path, "POST", sent)
        return status, orjson.loads(body)

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads(self.ask(f"{self.admin}/admin/workers")[1])[
            "workers"
        ]
        return found

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.workers() if worker["state"] == "ready"]

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.ask(f"{self.admin}/status.json")[1])
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The exit code and what it had to say."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=40)
        return self.process.returncode, errors

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.banner)
        assert found is not None, self.banner
        return found[1]


def write_config(
    folder: Path,
    stage: str = "Double",
    *,
    drain: str = "10s",
    workers: int = 2,
    deadline: str = "30s",
    executor: str = "inline",
) -> Path:
    path = folder / "c.yaml"
    path.write_text(
        CONFIG.format(
            stage=stage, drain=drain, workers=workers, deadline=deadline, executor=executor
        )
    )
    (folder / "mine.py").write_text(STAGES)
    return path


@contextmanager
def launched(config: Path, *options: str) -> Iterator[Tree]:
    """Start a daemon; it has not served yet. Whatever still runs at the end is killed."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "sedp", "serve", str(config), *options]
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    try:
        yield Tree(config.parent, process)
    finally:
        children = children_of(process.pid)
        process.kill()
        process.communicate()
        wait_for(lambda: not any(is_alive(pid) for pid in children))


@contextmanager
def served(config: Path, *options: str) -> Iterator[Tree]:
    """Start a daemon, and wait until it serves."""
    with launched(config, *options) as tree:
        tree.read_banner()
        yield tree


def children_of(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """A process that runs: one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> float:
    """Seconds that it took; the test's time limit ends it otherwise."""
    start = time.monotonic()
    while not condition():
        time.sleep(0.002)
    return time.monotonic() - start
