"""What systemd wants to know of a service of `Type=notify`: datagrams to a socket that it names.

Without that socket in the environment nothing is sent. A lost datagram is no reason to stop
serving, so nothing here raises.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager of one process, if there is one.

    Args:
        environment: `NOTIFY_SOCKET`, a path, or `@` and an abstract name; `WATCHDOG_USEC` and
            `WATCHDOG_PID`, when signs of life are wanted.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._beat_s = _beat_s(environment) if name else 0.0

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """`ready` must follow, whatever became of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=stopping")

    async def beat(self) -> None:
        """Send signs of life for as long as the loop turns; end at once when none are wanted."""
        while self._beat_s:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._beat_s)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as err:
            log.warning("the service manager was not told %s: %s", lines[0], err)


def _beat_s(environment: Mapping[str, str]) -> float:
    """Twice as often as asked; 0 when it is not asked, or another process is meant."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
