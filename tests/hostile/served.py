"""A `sedp serve` of its own process: started, watched from outside, and ended."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CONFIG = """\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1{daemon}}}
pipelines:
  double:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    rows_max: 64
    deadline: 30s
    stages:
      s: {{kind: "hostile_stages:Double", executor: inline}}
  numbers:
    inputs: {{flag: "BOOL[n]", key: "INT64[n]", pair: "FP64[n, 2]", big: "UINT64[1]"}}
    outputs: {{flag2: "BOOL[n]", key2: "INT64[n]", pair2: "FP64[n, 2]", big2: "UINT64[1]"}}
    rows_max: 64
    deadline: 30s
    stages:
      s: {{kind: "hostile_stages:SameNumbers", executor: inline}}
  strings:
    inputs: {{t: "BYTES[n]", u: "BYTES[1]"}}
    outputs: {{t2: "BYTES[n]", u2: "BYTES[1]"}}
    rows_max: 64
    deadline: 30s
    stages:
      s: {{kind: "hostile_stages:SameStrings", executor: inline}}
  halves:
    inputs: {{h: "FP16[n, 4]"}}
    outputs: {{h2: "FP16[n, 4]"}}
    rows_max: 64
    deadline: 30s
    stages:
      s: {{kind: "hostile_stages:SameHalves", executor: inline}}
"""
PLANTED = """\
  brittle:
    inputs: {x: "FP32[n]"}
    outputs: {y: "FP32[n]"}
    deadline: 30s
    stages:
      s: {kind: "hostile_stages:Brittle", executor: inline}
"""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Served:
    """A running server.

    Args:
        data, admin: where it listens.
        folder: of its config; what it opens must be in here.
        opened: file with what it opened, a line each; empty without the audit.
    """

    process: subprocess.Popen[str]
    data: Address
    admin: Address
    folder: Path
    opened: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def rss_bytes(self) -> int:
        return self._status("VmRSS")

    @property
    def rss_peak_bytes(self) -> int:
        """Since the start, or since the last `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, key: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0  # a process that has ended has none


@contextmanager
def serve(folder: Path, *, brittle: bool = False, **settings: Any) -> Iterator[Served]:
    """Serve echoing pipelines, with every `open` of the process written down.

    Args:
        brittle: also serve the pipeline with the planted faults.
        settings: more keys of `daemon`.
    """
    shutil.copy(HERE / "hostile_stages.py", folder)
    config = folder / "hostile.yaml"
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    config.write_text(CONFIG.format(daemon=more) + PLANTED * brittle)
    with _run([sys.executable, "-m", "sedp", "serve", str(config)], folder) as served:
        yield served


@contextmanager
def serve_naively(folder: Path) -> Iterator[Served]:
    """Serve with every fault there is, for the controls."""
    with _run([sys.executable, str(HERE / "naive_server.py")], folder) as served:
        yield served


@contextmanager
def _run(command: list[str], folder: Path) -> Iterator[Served]:
    """A Python process under audit, killed in the end."""
    opened = folder / "opened.log"
    paths = [str(HERE / "audit"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENED_LOG": str(opened),
    }
    with (folder / "stderr.log").open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    try:
        data = _address(process, r"inference +http://([^:/]+):(\d+)", folder)
        admin = _address(process, r"metrics +http://([^:/]+):(\d+)", folder)
        yield Served(process, data, admin, folder, opened)
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str], pattern: str, folder: Path) -> Address:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if found := re.search(pattern, line):
            return found[1], int(found[2])
    raise AssertionError((folder / "stderr.log").read_text())
