"""A daemon as an operator has it: a config file, a process tree, and what /proc says of it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.supervisor.tree import Tree, children_of, is_alive, wait_for

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process tree holds, all processes together."""

    rss_bytes: int
    files: int
    threads: int


class Operated(Tree):
    """A tree that can be weighed, and told from outside to shut its gate."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], config: Path) -> None:
        super().__init__(folder, process)
        self.config = config

    def read_banner(self) -> None:
        assert self.process.stdout is not None
        while "curl" not in self.banner:
            line = self.process.stdout.readline()
            assert line, (self.folder / "stderr.log").read_text()
            self.banner += line

    @property
    def processes(self) -> list[int]:
        return [self.process.pid, *children_of(self.process.pid)]

    def footprint(self) -> Footprint:
        pids = self.processes
        return Footprint(
            sum(_status(pid, "RssAnon") for pid in pids) * 1024,
            sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            sum(_status(pid, "Threads") for pid in pids),
        )

    def forget_peaks(self) -> None:
        for pid in self.processes:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Most RAM at once since `forget_peaks`, summed over the processes."""
        return sum(_status(pid, "VmHWM") for pid in self.processes) * 1024

    def rss_bytes(self) -> int:
        return sum(_status(pid, "VmRSS") for pid in self.processes) * 1024

    def tasks(self) -> int:
        """Of the event loop of the one that answers; needs a pipeline `census`."""
        status, body = self.ask(f"{self.data}/v2/models/census/infer", "POST", infer_body(1.0))
        assert status == 200, body
        return int(orjson.loads(body)["outputs"][0]["data"][0])

    def connections(self) -> int:
        """Open on the data plane, all workers together."""
        count: int = self.status()["listeners"]["data"]["connections"]
        return count

    @contextmanager
    def gate_shut(self) -> Iterator[None]:
        shut = self.folder / "shut"
        shut.touch()
        try:
            yield
        finally:
            shut.unlink()


def write(folder: Path, pipelines: dict[str, str], **settings: Any) -> Path:
    """Write a config, and the stages beside it.

    Args:
        pipelines: by name, the stage's class and what else it and the pipeline shall have, as
            `Class`, `Class, executor: thread` or `Class; deadline: 3s, rows_max: 9`.
        settings: of `daemon`.
    """
    shutil.copy(HERE / "operated_stages.py", folder)
    given = {"workers": 1, **settings}
    keys = ", ".join(f"{key}: {value}" for key, value in given.items())
    lines = [
        "api_version: sedp/v1",
        f"daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, {keys}}}",
        "pipelines:",
        *(_describe(name, text) for name, text in pipelines.items()),
    ]
    config = folder / "operated.yaml"
    new = folder / "operated.new"
    new.write_text("\n".join(lines) + "\n")
    new.replace(config)
    return config


@contextmanager
def operate(folder: Path, pipelines: dict[str, str], **settings: Any) -> Iterator[Operated]:
    """Serve, each process with its log in a file: a pipe that nobody reads would hold it up."""
    config = write(folder, pipelines, **settings)
    with (folder / "stderr.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "sedp", "serve", str(config)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    children: list[int] = []
    try:
        operated = Operated(folder, process, config)
        operated.read_banner()
        yield operated
        assert process.poll() is None, (folder / "stderr.log").read_text()
    finally:
        children = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_for(lambda: not any(is_alive(pid) for pid in children))


def infer_body(*values: float) -> bytes:
    """JSON of a request with one tensor."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values}
    return orjson.dumps({"inputs": [tensor]})


def infer_request(pipeline: str, body: bytes, *headers: str) -> bytes:
    """The bytes of an HTTP request."""
    lines = [
        f"POST /v2/models/{pipeline}/infer HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _describe(name: str, text: str) -> str:
    """One pipeline on a line of YAML."""
    stage, _, more = text.partition(";")
    kind, _, plan = stage.partition(",")
    width = ", 4096" * (kind == "Wide")
    parts = [
        'inputs: {x: "FP32[n]"}',
        f'outputs: {{y: "FP32[n{width}]"}}',
        f'stages: {{s: {{kind: "operated_stages:{kind}", {plan or "executor: inline"}}}}}',
    ]
    return f"  {name}: {{{', '.join([*parts, *filter(None, [more])])}}}"


def _status(pid: int, key: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0  # it has ended
    found = re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
