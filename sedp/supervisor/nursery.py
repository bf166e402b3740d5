"""Where workers come from, and where those that ended are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sedp.daemon.access.shared_use import SharedUse
from sedp.daemon.monitoring import merging
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.supervisor import messages
from sedp.supervisor.launch import Inheritance, Launched
from sedp.supervisor.worker_process import WorkerProcess

Answering = Callable[[messages.Question, WorkerProcess], Awaitable[object]]


class Nursery:
    """Starts workers and buries them.

    Args:
        begin: what is to be served now.
        answering: of questions and notices that workers send.
    """

    def __init__(
        self,
        inheritance: Inheritance,
        begin: Callable[[], messages.Begin],
        answering: Answering,
    ) -> None:
        self.begin = begin
        self.workers: set[WorkerProcess] = set()  # those not buried
        self._past: DaemonStatistics | None = None  # what the buried have counted
        self._inheritance = inheritance
        self._free_slots = set(range(inheritance.slots))
        self._answering = answering

    async def spawn(self, number: int) -> WorkerProcess:
        """A process that may begin; bury it in the end.

        Args:
            number: of its place.

        Raises:
            SedpError: the system starts no more processes.
        """
        return await self.adopt(self._inheritance.launch(number, min(self._free_slots)))

    async def adopt(self, launched: Launched) -> WorkerProcess:
        """The same with a process that was started already."""
        self._free_slots.remove(launched.slot)
        counts = self._inheritance.counts
        worker = await WorkerProcess.adopt(launched, counts, self._answering)
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
