"""Where workers come from, and where those that ended are remembered."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from sedp.daemon import merging
from sedp.daemon.acceptor import ConnectionCounts
from sedp.daemon.doors import Doors
from sedp.daemon.shared_use import SharedUse
from sedp.daemon.statistics import DaemonStatistics
from sedp.supervisor import messages
from sedp.supervisor.worker_process import Inheritance, WorkerProcess

SLOTS_A_PLACE = 3  # for its worker, a successor, and one that died just now

Answering = Callable[[messages.Question, WorkerProcess], Awaitable[object]]


class Nursery:
    """Starts workers and buries them.

    Args:
        size: places that are to be filled.
        begin: what is to be served now.
        answering: of questions and notices that workers send.
    """

    def __init__(
        self, size: int, doors: Doors, begin: Callable[[], messages.Begin], answering: Answering
    ) -> None:
        slots = SLOTS_A_PLACE * size
        self.begin = begin
        self.workers: set[WorkerProcess] = set()  # those not buried
        self._past: DaemonStatistics | None = None  # what the buried have counted
        self._inheritance = Inheritance(
            doors, ConnectionCounts.create(slots), SharedUse.create(slots)
        )
        self._free_slots = set(range(slots))
        self._answering = answering

    async def spawn(self, number: int, *, is_quiet: bool = False) -> WorkerProcess:
        """A process that may begin; bury it in the end.

        Args:
            number: of its place.

        Raises:
            SedpError: the system starts no more processes.
        """
        slot = min(self._free_slots)
        worker = await WorkerProcess.spawn(
            number, slot, self._inheritance, self._answering, is_quiet=is_quiet
        )
        self._free_slots.remove(slot)
        self.workers.add(worker)
        return worker

    async def bury(self, worker: WorkerProcess) -> None:
        """Make sure that a worker has ended, and keep what it counted."""
        await worker.end()
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        SharedUse(self._inheritance.use, worker.slot)  # nothing of it is inside any more
        self._free_slots.add(worker.slot)
        if worker.last is not None:
            counted = merging.past(worker.last)
            self._past = merging.merge([self._past, counted]) if self._past else counted

    async def statistics(self, timeout_s: float) -> list[DaemonStatistics]:
        """Of each worker that has any, and of the buried as one.

        Args:
            timeout_s: for a worker to tell; then the last ones known have to do.
        """
        told = await asyncio.gather(*(w.tell_statistics(timeout_s) for w in self.workers))
        return [part for part in [*told, self._past] if part is not None]

    def close(self) -> None:
        self._inheritance.counts.close()
        os.close(self._inheritance.use)
