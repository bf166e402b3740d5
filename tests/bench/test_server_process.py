"""Servers of a bench: those that are not measured stand still, with all their processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import server_process
from bench.server_process import Server, free_port, started

PROBE = b"GET / HTTP/1.0\r\n\r\n"
PARENT = """
import signal, subprocess, sys
words = [sys.executable, "-m", "http.server", sys.argv[1], "--bind", "127.0.0.1"]
child = subprocess.Popen(words, start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
child.wait()
"""
PATIENCE_S = 10.0


def states(server: Server) -> set[str]:
    """Of all its processes, as the kernel has them; `T` is stopped."""
    return {
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in server.pids()
    }


def wait_still(server: Server) -> None:
    """A signal is on its way for a moment."""
    give_up_s = time.monotonic() + PATIENCE_S
    while states(server) != {"T"}:
        assert time.monotonic() < give_up_s


@pytest.fixture
def server() -> Iterator[Server]:
    port = free_port()
    with started([sys.executable, "-c", PARENT, str(port)], {}, port, PROBE) as server:
        yield server


def test_a_paused_server_stands_still_with_its_children_but_while_it_is_measured(
    server: Server,
) -> None:
    assert len(server.pids()) == 2
    assert "T" not in states(server)
    server.pause()
    wait_still(server)
    with server.awake():
        assert "T" not in states(server)
        server.answer(PROBE)
    wait_still(server)


def test_a_paused_server_ends_as_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "STOP_WAIT_S", PATIENCE_S)
    port = free_port()
    with started([sys.executable, "-c", PARENT, str(port)], {}, port, PROBE) as server:
        server.pause()
    assert server.process.returncode == 0, "asked to, and not killed"


def test_a_server_that_cannot_start_is_told_of_with_what_it_wrote() -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such table')"]
    failure = pytest.raises(RuntimeError, match="ended before it served")
    with failure as told, started(words, {}, free_port(), PROBE):
        pass
    assert "no such table" in told.value.__notes__[0]
