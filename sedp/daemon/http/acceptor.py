"""Accepts connections on a listening socket that other processes may share.

Workers inherit one socket, so that none of its connections is lost when one of them goes. Left to
themselves, the process that happens to wake first would take most of them and keep them for ever;
so each writes down how many it holds, and one that holds more than the others leaves a newcomer to
them for a millisecond. After that it takes it all the same: nobody waits for a process that hangs.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import ssl
from collections.abc import Callable

from sedp.memory_file import make_memory_file

BACKLOG = 1024  # more would only wait to be refused
PAUSE_S = 0.001  # for one of the others to wake and accept; the finest timer that uvloop has
STARVED_PAUSE_S = 0.1  # out of file descriptors or memory: until some connection has ended
PATIENCE = 4  # pauses after which twice as many are taken out of turn: a core may be busy so long
ACCEPTS_MAX = 64  # at a stretch, before the loop may look at the connections it has
PENDING_MAX = 1024  # accepted, TLS handshake not done yet; more wait in the kernel's backlog
HANDSHAKE_S = 10.0
UNEVEN_SHARE = 8  # 1/8 more than the others is even enough, and lets bursts in faster
ABSENT = 0xFFFF_FFFF  # in the slot of nobody: more than anybody has, so the least ignores it
SLOT_BYTES = 4


class ConnectionCounts:
    """Connections a process, in memory that all of them see; a slot has one writer at a time.

    Args:
        fd: of the memory, for children to inherit; closed with this object.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        self._slots = memoryview(self._memory).cast("I")

    @classmethod
    def create(cls, slots: int) -> ConnectionCounts:
        """New memory with nobody in it."""
        fd = make_memory_file("sedp-connections")
        os.ftruncate(fd, slots * SLOT_BYTES)
        made = cls(fd)
        for slot in range(slots):
            made.clear(slot)
        return made

    def __getitem__(self, slot: int) -> int:
        return self._slots[slot]

    def __setitem__(self, slot: int, connections: int) -> None:
        self._slots[slot] = connections

    def clear(self, slot: int) -> None:
        """Nobody is in this slot, or the one who was does not accept any more."""
        self._slots[slot] = ABSENT

    def least(self) -> int:
        return min(self._slots)

    def close(self) -> None:
        self._slots.release()
        self._memory.close()
        os.close(self.fd)


class ConnectionShare:
    """This process's part of the connections that arrive at one socket.

    Args:
        slot: of this process alone.
    """

    def __init__(self, counts: ConnectionCounts, slot: int) -> None:
        self._counts = counts
        self._slot = slot

    def hold(self, connections: int) -> None:
        """Say how many this process has."""
        self._counts[self._slot] = connections

    def leave(self) -> None:
        """Take part no more: others need not wait for this process."""
        self._counts.clear(self._slot)

    @property
    def is_filled(self) -> bool:
        """Whether another process should take the next connection."""
        least = self._counts.least()
        return self._counts[self._slot] > least + least // UNEVEN_SHARE


class Acceptor:
    """Turns the connections of a listening socket into protocols; use it on a running loop.

    Args:
        listening: bound, at least; shared with other processes or not.
        factory: makes the protocol of one connection. When a connection that it was made for is
            lost, `release` must be called once.
        ssl: encrypts connections accepted from now on; may be replaced while serving.
        share: how many to take; `None` takes all.
    """

    def __init__(
        self,
        listening: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        *,
        ssl: ssl.SSLContext | None = None,
        share: ConnectionShare | None = None,
    ) -> None:
        self.ssl = ssl
        self.starved = 0  # times accepting had to wait for descriptors or memory
        self.lost_early = 0  # connections that ended before they were a protocol's
        self._socket = listening
        self._factory = factory
        self._share = share
        self._loop = asyncio.get_running_loop()
        self.held = 0  # accepted and not released; handshakes under way are among them
        self._pending: set[asyncio.Task[None]] = set()
        self._waits = 0  # pauses in a row in which nobody else took what was waiting
        self._resumption: asyncio.TimerHandle | None = None
        self._is_open = False

    def start(self) -> None:
        """Listen, and accept from now on."""
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)  # again does no harm, when another process listens already
        self._is_open = True
        self._hold(0)
        self._loop.add_reader(self._socket, self._accept_ready)

    def stop(self) -> None:
        """Accept no more. The socket stays open: what waits in it is for the other processes."""
        if not self._is_open:
            return
        self._is_open = False
        if self._resumption is not None:
            self._resumption.cancel()
        self._loop.remove_reader(self._socket)
        if self._share is not None:
            self._share.leave()

    def close(self) -> None:
        """Accept no more, drop handshakes that are under way, close this process's socket."""
        self.stop()
        for task in self._pending:
            task.cancel()
        self._socket.close()

    def release(self) -> None:
        """One of the connections is lost."""
        self._hold(-1)

    def _hold(self, more: int) -> None:
        self.held += more
        if self._share is not None and self._is_open:
            self._share.hold(self.held)

    def _accept_ready(self) -> None:
        """Take what is waiting, while it is this process's turn."""
        for _ in range(ACCEPTS_MAX):
            if self._share is not None and self._share.is_filled:
                self._pause(PAUSE_S, self._accept_overdue)
                return
            if not self._accept_one():
                return
            self._waits = 0

    def _accept_overdue(self) -> None:
        """Take some of what nobody took; more each time, until the others take their part again."""
        if self._share is None or not self._share.is_filled:
            self._resume()
            return
        count = min(1 << self._waits // PATIENCE, ACCEPTS_MAX)
        self._waits = min(self._waits + 1, PATIENCE * ACCEPTS_MAX.bit_length())
        for _ in range(count):
            if not self._accept_one():
                self._waits = 0
                break
        if self._resumption is None:
            self._resume()

    def _accept_one(self) -> bool:
        """Whether to go on: there may be another connection, and there is room for it."""
        if len(self._pending) >= PENDING_MAX:
            self._starve()
            return False
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return False  # another process was faster
        except ConnectionError:
            return True  # the caller left while waiting
        except OSError:
            self._starve()
            return False
        accepted.setblocking(False)
        self._hold(+1)
        task = self._loop.create_task(self._connect(accepted))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return True

    def _starve(self) -> None:
        self.starved += 1
        self._pause(STARVED_PAUSE_S, self._resume)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        """Stop looking at the socket, which stays readable and would wake us without end."""
        self._loop.remove_reader(self._socket)

        def go_on() -> None:
            self._resumption = None
            then()

        self._resumption = self._loop.call_later(seconds, go_on)

    def _resume(self) -> None:
        self._loop.add_reader(self._socket, self._accept_ready)

    async def _connect(self, accepted: socket.socket) -> None:
        timeout_s = HANDSHAKE_S if self.ssl else None
        try:
            await self._loop.connect_accepted_socket(
                self._factory, accepted, ssl=self.ssl, ssl_handshake_timeout=timeout_s
            )
        except (OSError, asyncio.CancelledError):  # of TLS, too: its errors are OSErrors
            self.lost_early += 1
            self._hold(-1)
            accepted.close()
