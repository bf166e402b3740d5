"""Starts worker processes, and knows little else.

A worker needs a second of computing to import what it serves with. So the first ones are started
before this process imports the same: nothing here, or above here, may import anything heavy.

Workers are fresh interpreters, never forks: a fork copies locks that threads hold, and neither
gRPC, LMDB nor RocksDB survives that.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from sedp.config.daemon_settings import DaemonSettings
from sedp.daemon.access.shared_use import SharedUse
from sedp.daemon.doors import Doors
from sedp.daemon.http.acceptor import ConnectionCounts
from sedp.errors import SedpError
from sedp.memory_file import make_memory_file

SLOTS_A_WORKER = 3  # for itself, a successor, and one that died just now


class Inherited(msgspec.Struct, frozen=True):
    """What a worker is left; JSON, its only argument.

    Args:
        number: of its place, from 0.
        slot: its own in memory that all workers share.
        channel: file descriptor of its end of the channel.
        data: file descriptor of the listening socket.
        grpc: file descriptor, or `None` when gRPC is off.
        counts, use, ram: file descriptors of the shared memory.
        is_quiet: say nothing before it serves; another one says the same.
    """

    number: int
    slot: int
    channel: int
    data: int
    grpc: int | None
    counts: int
    use: int
    ram: int
    is_quiet: bool


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that imports what it needs, and then waits to be told what to serve.

    Args:
        number: of its place, from 0.
        slot: its own in shared memory.
        end: our end of its channel; it exits when that is closed.
    """

    number: int
    slot: int
    process: subprocess.Popen[bytes]
    end: socket.socket


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What all workers of a daemon share.

    Args:
        counts: of connections; a worker writes to its own slot.
        use: file descriptor of what tenants use, see `SharedUse`.
        slots: in both.
        ram: file descriptor of rows that are kept for all, see `sedp.storage.ram.shared_ram`.
    """

    doors: Doors
    counts: ConnectionCounts
    use: int
    slots: int
    ram: int

    @classmethod
    def open(cls, settings: DaemonSettings, workers: int) -> Self:
        """Take the addresses, and make memory for so many workers.

        Raises:
            ConfigError: an address is in use, not ours, or not allowed.
        """
        slots = SLOTS_A_WORKER * workers
        doors = Doors.open(settings)
        ram = make_memory_file("sedp-ram")
        return cls(doors, ConnectionCounts.create(slots), SharedUse.create(slots), slots, ram)

    def launch(self, number: int, slot: int, *, is_quiet: bool = False) -> Launched:
        """Start a worker.

        Args:
            number: of its place, from 0.
            slot: that no living worker has.

        Raises:
            SedpError: the system starts no more processes.
        """
        with ExitStack() as opened:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            opened.enter_context(ours)
            with theirs:
                doors = self.doors
                grpc = None if doors.grpc is None else doors.grpc.fileno()
                inherited = Inherited(
                    number=number,
                    slot=slot,
                    channel=theirs.fileno(),
                    data=doors.data.fileno(),
                    grpc=grpc,
                    counts=self.counts.fd,
                    use=self.use,
                    ram=self.ram,
                    is_quiet=is_quiet,
                )
                process = _run(inherited)
            opened.pop_all()
        return Launched(number, slot, process, ours)

    def launch_first(self, workers: int) -> Sequence[Launched]:
        """Start as many; only one of them says what all of them would."""
        return [self.launch(number, number, is_quiet=number > 0) for number in range(workers)]

    def close(self) -> None:
        self.doors.close()
        self.counts.close()
        os.close(self.use)
        os.close(self.ram)


def _run(inherited: Inherited) -> subprocess.Popen[bytes]:
    # As this process itself: with the working directory in the path only if it is there already.
    safe_path = [] if str(Path.cwd()) in sys.path else ["-P"]
    argument = msgspec.json.encode(inherited).decode()
    descriptors = (inherited.channel, inherited.data, inherited.grpc, inherited.counts)
    memory = (inherited.use, inherited.ram)
    try:
        return subprocess.Popen(
            [sys.executable, *safe_path, "-m", "sedp.supervisor", argument],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Ctrl-C and hang-up are for this process alone
            pass_fds=[fd for fd in (*descriptors, *memory) if fd is not None],
        )
    except OSError as err:
        text = f"worker {inherited.number} cannot be started: {err.strerror}"
        raise SedpError(text) from err
