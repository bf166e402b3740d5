"""What the service manager is told, on real datagram sockets."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sedp.daemon.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its name in the environment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        if request.param == "path":
            name = str(tmp_path / "notify")
            listening.bind(name)
        else:
            name = f"@sedp-test-{os.getpid()}"
            listening.bind("\0" + name[1:])
        listening.settimeout(5)
        yield listening, name


def test_each_state_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("serving on 127.0.0.1:8000")
    assert listening.recv(4096) == b"READY=1\nSTATUS=serving on 127.0.0.1:8000"
    notifier.reloading()
    assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", listening.recv(4096))
    notifier.status("replacing workers")
    assert listening.recv(4096) == b"STATUS=replacing workers"
    notifier.stopping()
    assert listening.recv(4096).startswith(b"STOPPING=1\n")


async def test_signs_of_life_are_sent_twice_as_often_as_asked(
    manager: tuple[socket.socket, str],
) -> None:
    listening, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000"})
    beating = asyncio.ensure_future(notifier.beat())
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(4):
        assert await asyncio.to_thread(listening.recv, 64) == b"WATCHDOG=1"
    assert loop.time() - started > 0.025  # the first at once, the others 10 ms apart
    beating.cancel()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"WATCHDOG_USEC": "20000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"},
    ],
)
async def test_without_a_manager_that_asks_nothing_beats(environment: dict[str, str]) -> None:
    await Notifier(environment).beat()


def test_a_manager_that_is_gone_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": "/nowhere/notify"}).ready("serving")
    assert "was not told READY=1" in caplog.text
