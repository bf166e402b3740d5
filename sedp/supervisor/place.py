"""Where one worker serves, and the next one when it is gone.

Invariant: whoever puts another worker into a place holds its lock, and buries the one before.
"""

from __future__ import annotations

import asyncio
import logging
import random

from sedp.daemon.monitoring.statistics import WorkerState
from sedp.errors import SedpError
from sedp.supervisor.backoff import Backoff
from sedp.supervisor.nursery import Nursery
from sedp.supervisor.worker_process import State, WorkerDied, WorkerProcess

STALL_NS = 5_000_000_000  # without a sign of life from a worker that serves: it hangs
STARTS_MAX = 3  # of a worker that dies without a word before the daemon has served

log = logging.getLogger(__name__)


class Place:
    """One of the workers' places.

    Args:
        number: from 0.
        worker: started already.
    """

    def __init__(self, number: int, worker: WorkerProcess, nursery: Nursery) -> None:
        self.number = number
        self.worker = worker
        self._nursery = nursery
        self._restarts = 0
        self._stalls = 0
        self._backoff = Backoff()
        self._being_filled = asyncio.Lock()

    async def start(self) -> None:
        """Let the first worker serve; one that dies without a word is tried again some times.

        Raises:
            SedpError: why it does not serve.
        """
        for attempts_left in reversed(range(STARTS_MAX)):
            try:
                return await self.worker.begin(self._nursery.begin())
            except WorkerDied:
                await self._nursery.bury(self.worker)
                if not attempts_left:
                    raise
                self.worker = await self._nursery.spawn(self.number)
        return None

    async def keep(self) -> None:
        """Fill the place again whenever its worker is gone; runs until it is cancelled."""
        while True:
            worker = self.worker
            await worker.exited.wait()
            async with self._being_filled:
                if self.worker is worker:  # else it has a successor already
                    await self._refill()

    async def replace(self, leave_s: float) -> None:
        """Let a successor serve, then let its predecessor leave.

        Args:
            leave_s: for the predecessor to answer what it has in flight.

        Raises:
            SedpError: why the successor does not serve; its predecessor stays.
        """
        async with self._being_filled:
            successor = await self._nursery.spawn(self.number)
            try:
                await successor.begin(self._nursery.begin())
            except BaseException:
                await self._nursery.bury(successor)
                raise
            predecessor, self.worker = self.worker, successor
            self._restarts += 1
            log.info("worker %d: pid %d follows %d", self.number, successor.pid, predecessor.pid)
            await predecessor.retire(leave_s)
            await self._nursery.bury(predecessor)

    def end_if_it_hangs(self, now_ns: int) -> None:
        """Now is on the monotonic clock."""
        worker = self.worker
        if worker.state is not State.READY or now_ns - worker.heard_ns <= STALL_NS:
            return
        log.error("worker %d (pid %d) hangs; ending it", self.number, worker.pid)
        self._stalls += 1
        worker.abort()

    def describe(self) -> WorkerState:
        return self.worker.describe(self._restarts, self._stalls)

    async def _refill(self) -> None:
        """Start workers after another's death, until one serves."""
        log.error("worker %d (pid %d) %s", self.number, self.worker.pid, self.worker.ending)
        served_ns = self.worker.served_ns
        while self.worker.state is not State.READY:
            await self._nursery.bury(self.worker)
            await asyncio.sleep(self._backoff.died(served_ns, random.random()) / 1e9)
            served_ns = 0
            begin = self._nursery.begin()
            try:
                self.worker = await self._nursery.spawn(self.number)
                self._restarts += 1
                await self.worker.begin(begin)
            except SedpError as err:
                log.error("worker %d cannot serve: %s", self.number, err)
        if begin != self._nursery.begin():
            self.worker.kill()  # what is to be served has changed; it has served nobody yet
