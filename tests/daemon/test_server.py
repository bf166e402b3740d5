"""`sedp serve` as a process of its own: good and wrong starts, signals, and a clean end."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from sedp.engine.stimulus_log import RecordedRun

from .calls import GOOD

CONFIG = """\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:{admin}, workers: 1, drain: {drain}}}
pipelines:
  double:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    deadline: 30s
    stages:
      s: {{kind: "mine:{stage}", executor: thread}}
"""

# A gate is opened from outside by a file beside the config.
STAGES = """\
import time
from sedp.columns import ColumnSpec, Level
from sedp.stage import Stage

FLOATS = ColumnSpec("FP32", Level.ITEM)


class Double(Stage):
    @property
    def requires(self):
        return {"x": FLOATS}

    def provides(self, inputs):
        return {"y": FLOATS}

    def process(self, batch):
        return {"y": batch["x"] * 2}


class Gate(Double):
    def open(self, resources):
        self.folder = resources.base_path

    def examples(self, inputs):
        return ()

    def process(self, batch):
        (self.folder / "entered").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.002)
        return super().process(batch)

    def close(self):
        (self.folder / "closed").touch()


class Broken(Double):
    def open(self, resources):
        raise OSError("no model")
"""


class Served:
    """A running `sedp serve`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.banner = ""

    def read_banner(self) -> None:
        assert self.process.stdout is not None
        while "curl" not in self.banner:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.banner += line

    def read_error(self, words: str) -> None:
        assert self.process.stderr is not None
        line = "x"
        while words not in line:
            assert line, words
            line = self.process.stderr.readline()

    def get(self, path: str) -> int:
        return urllib3.request("GET", f"{self._base}{path}", retries=False).status

    def infer(self, body: bytes | str = GOOD) -> int:
        url = f"{self._base}/v2/models/double/infer"
        return urllib3.request("POST", url, body=body, retries=False).status

    def finish(self) -> tuple[int, str]:
        """The exit code and what it had to say."""
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    @property
    def _base(self) -> str:
        found = re.search(r"inference +(http://[^/]+)/v2", self.banner)
        assert found is not None
        return found[1]


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `sedp serve`; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(stage: str, *options: str, drain: str = "10s", admin: int = 0) -> Served:
        (tmp_path / "c.yaml").write_text(CONFIG.format(stage=stage, drain=drain, admin=admin))
        (tmp_path / "mine.py").write_text(STAGES)
        command = [sys.executable, "-m", "sedp", "serve", str(tmp_path / "c.yaml"), *options]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return Served(started[-1])

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    """The test's time limit ends it otherwise."""
    while not condition():
        time.sleep(0.002)


def test_the_printed_request_works_and_ctrl_c_ends_quietly(start: Start) -> None:
    served = start("Double")
    served.read_banner()
    body = shlex.split(served.banner.splitlines()[-1])[-1]
    assert served.infer(body) == 200
    served.process.send_signal(signal.SIGINT)
    assert served.finish() == (0, "")


def test_sigterm_answers_what_is_in_flight_and_closes_everything(
    start: Start, tmp_path: Path
) -> None:
    served = start("Gate", "--stimulus-log", str(tmp_path / "run.log"))
    served.read_banner()
    with ThreadPoolExecutor() as threads:
        inside = threads.submit(served.infer)
        wait_for((tmp_path / "entered").exists)
        served.process.send_signal(signal.SIGTERM)
        wait_for(lambda: served.get("/v2/health/ready") == 503)
        assert served.get("/v2/health/live") == 200
        assert served.infer() == 503
        (tmp_path / "go").touch()
        assert inside.result() == 200
    assert served.finish() == (0, "")
    assert (tmp_path / "closed").exists()
    assert len(list(RecordedRun.open(tmp_path / "run.log").records())) >= 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(
    start: Start, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    served = start("Gate")
    served.read_banner()
    with ThreadPoolExecutor() as threads:
        inside = threads.submit(served.infer)
        wait_for((tmp_path / "entered").exists)
        served.process.send_signal(signal.SIGTERM)
        wait_for(lambda: served.get("/v2/health/ready") == 503)
        served.process.send_signal(number)
        assert served.finish()[0] == code
        assert isinstance(inside.exception(), urllib3.exceptions.HTTPError)


def test_a_stage_that_never_ends_cannot_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    served = start("Gate", drain="50ms")
    served.read_banner()
    with ThreadPoolExecutor() as threads:
        inside = threads.submit(served.infer)
        wait_for((tmp_path / "entered").exists)
        served.process.send_signal(signal.SIGTERM)
        code, errors = served.finish()
        assert inside.exception() is not None
    assert code == 1
    assert "1 events were cut off after 0.05 s; raise daemon.drain" in errors


def test_sighup_reloads_the_config_and_keeps_the_old_one_when_it_is_faulty(
    start: Start, tmp_path: Path
) -> None:
    served = start("Double")
    served.read_banner()
    config = tmp_path / "c.yaml"
    good = config.read_text()
    config.write_text(good.replace("  double:", "  twice:").replace("deadline", "deadlin"))
    served.process.send_signal(signal.SIGHUP)
    served.read_error("unknown key; did you mean 'deadline'?")
    assert served.get("/v2/models/double") == 200
    config.write_text(good.replace("  double:", "  twice:"))
    served.process.send_signal(signal.SIGHUP)
    served.read_error("reload: pipelines.twice: added")
    assert served.get("/v2/models/double") == 404
    assert served.get("/v2/models/twice") == 200
    served.process.send_signal(signal.SIGTERM)
    assert served.finish()[0] == 0


def test_a_port_in_use_is_named_with_its_key(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, errors = start("Double", admin=port).finish()
    assert code == 2
    assert f"daemon.admin: cannot listen on 127.0.0.1:{port}" in errors
    assert "set another port" in errors
    assert len(errors.splitlines()) == 1


def test_a_stage_that_does_not_open_is_named(start: Start) -> None:
    code, errors = start("Broken").finish()
    assert code == 1
    assert "pipeline 'double', stage 's' failed to open: OSError('no model')" in errors


def test_a_log_that_cannot_be_written_is_named(start: Start, tmp_path: Path) -> None:
    code, errors = start("Double", "--stimulus-log", str(tmp_path / "no/run.log")).finish()
    assert code == 2
    assert "no/run.log: No such file or directory" in errors
