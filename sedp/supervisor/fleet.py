"""All workers of a daemon, asked and told as one.

Invariant: a worker that is ready serves what `begin` says now. One that got ready while that
changed is ended, to start anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.errors import SedpError
from sedp.supervisor import messages
from sedp.supervisor.channel import ChannelClosed
from sedp.supervisor.launch import Inheritance, Launched
from sedp.supervisor.nursery import Nursery
from sedp.supervisor.place import Place
from sedp.supervisor.worker_process import State, WorkerProcess

LOOK_S = 0.5  # between two looks at the workers' signs of life
TELL_S = 1.0  # for a worker to tell its statistics
SAMPLE_NS = 2_000_000_000  # so much of what a killed worker counted may be lost

log = logging.getLogger(__name__)


class Fleet:
    """Workers and their places; `adopt`, then `start`, in the end `stop` or `kill`.

    Args:
        begin: what they are to serve now.
        gather: answers a worker that asks for the statistics of all.
    """

    def __init__(
        self,
        inheritance: Inheritance,
        begin: Callable[[], messages.Begin],
        gather: Callable[[], Awaitable[DaemonStatistics]],
    ) -> None:
        self.leave_s = 60.0  # for a worker to answer what it has in flight
        self._begin = begin
        self._gather = gather
        self._nursery = Nursery(inheritance, begin, self._answer)
        self._places: list[Place] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._replacing: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._sampled_ns = 0

    # Life -------------------------------------------------------------------------------------

    async def adopt(self, first: Sequence[Launched]) -> None:
        """Give each of these a place."""
        for launched in first:
            worker = await self._nursery.adopt(launched)
            self._places.append(Place(launched.number, worker, self._nursery))

    async def start(self) -> None:
        """Let all workers serve, and keep it so.

        Raises:
            SedpError: why the first that cannot serve does not.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for place in self._places:
                    group.create_task(place.start())
        except BaseExceptionGroup as err:
            raise err.exceptions[0] from None
        keeping = [place.keep() for place in self._places]
        self._keeping = [asyncio.create_task(task) for task in [*keeping, self._watch()]]
        for task in self._keeping:
            task.add_done_callback(_check_end)

    async def restart(self) -> None:
        """Replace all workers, one after the other; none goes before its successor serves.

        Raises:
            SedpError: why a successor does not serve; its predecessor, and those after it, stay.
        """
        for place in self._places:
            await self._replace(place)

    async def stop(self) -> int:
        """Let all drain, and end; the number of events that were cut off.

        Raises:
            SedpError: one of them did not answer; all have ended all the same.
        """
        await self._stop_keeping()
        stops = [worker.stop(self.leave_s) for worker in self._nursery.workers]
        results = await asyncio.gather(*stops, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def kill(self) -> None:
        """End all at once."""
        await self._stop_keeping()
        self.kill_now()
        await asyncio.gather(*(worker.exited.wait() for worker in self._nursery.workers))

    def kill_now(self) -> None:
        """As `kill`, for who cannot wait."""
        for worker in self._nursery.workers:
            worker.kill()

    # Asking -----------------------------------------------------------------------------------

    @property
    def ready(self) -> list[WorkerProcess]:
        return [place.worker for place in self._places if place.worker.state is State.READY]

    def describe(self) -> tuple[WorkerState, ...]:
        return tuple(place.describe() for place in self._places)

    async def ask(self, question: messages.Question, result: Any = None) -> list[Any]:
        """The answers of all that are ready; those that die meanwhile are left out.

        Raises:
            SedpError: as the first that could not do it said.
        """
        answers = await _ask(self.ready, question, result)
        if failures := _failures(answers):
            raise failures[0]
        return [answer for answer in answers if not isinstance(answer, ChannelClosed)]

    async def tell(self, question: messages.Question, commit: Callable[[], None]) -> None:
        """As `ask`, for what changes `begin`.

        Args:
            commit: makes `begin` say so, once all have done it.
        """
        workers = self.ready
        if failures := _failures(await _ask(workers, question)):
            raise failures[0]
        commit()
        self._settle(workers)

    async def change(self, config: bytes, commit: Callable[[], None]) -> list[str]:
        """Let all workers serve by another config, or none.

        Args:
            commit: called once all are prepared; makes `begin` say the new config.

        Returns:
            What changes, a line each.

        Raises:
            SedpError: why one cannot; all stay with the old config.
        """
        workers = self.ready
        votes = await _ask(workers, messages.Prepare(config), list[str])
        if failures := _failures(votes):
            await _ask(workers, messages.Abort())
            raise failures[0]
        commit()
        failures = _failures(await _ask(workers, messages.Commit()))
        assert not failures, failures
        self._settle(workers)
        return next((vote for vote in votes if isinstance(vote, list)), [])

    async def statistics(self) -> list[DaemonStatistics]:
        """Of each worker that has any, and of those that ended as one."""
        self._sampled_ns = time.monotonic_ns()
        return await self._nursery.statistics(TELL_S)

    def _settle(self, told: Sequence[WorkerProcess]) -> None:
        """See that all who are ready serve what `begin` says; those `told` know."""
        begin = self._begin()
        for worker in told:
            worker.begun = begin
        for worker in self.ready:
            if worker.begun != begin:
                log.warning("worker %d (pid %d) missed a change", worker.number, worker.pid)
                worker.kill()

    # Answering and watching -------------------------------------------------------------------

    async def _answer(self, question: messages.Question, worker: WorkerProcess) -> object:
        match question:
            case messages.Gather():
                return await self._gather()
            case messages.LeaveAsked():
                await self._let_leave(worker)
        return None

    async def _let_leave(self, worker: WorkerProcess) -> None:
        for place in self._places:
            if place.worker is worker and not self._is_stopping:
                log.warning("worker %d (pid %d) was asked to leave", worker.number, worker.pid)
                await self._replace(place)

    async def _replace(self, place: Place) -> None:
        """Raises SedpError when it does not succeed, or the fleet is stopped meanwhile."""
        if self._is_stopping:
            raise SedpError("the daemon is stopping")
        replacing = asyncio.create_task(place.replace(self.leave_s))
        self._replacing.add(replacing)
        replacing.add_done_callback(self._replacing.discard)
        await asyncio.wait([replacing])
        if replacing.cancelled():
            raise SedpError("the daemon is stopping")
        replacing.result()

    async def _watch(self) -> None:
        """Find workers whose loop hangs; know what was counted before one dies."""
        while True:
            asleep_ns = time.monotonic_ns()
            await asyncio.sleep(LOOK_S)
            now_ns = time.monotonic_ns()
            if now_ns - asleep_ns > 2 * LOOK_S * 1e9:
                continue  # it was this process that stood still: read first what they said
            for place in self._places:
                place.end_if_it_hangs(now_ns)
            if now_ns - self._sampled_ns > SAMPLE_NS:
                await self.statistics()

    async def _stop_keeping(self) -> None:
        """Fill no place any more."""
        self._is_stopping = True
        tasks = [*self._keeping, *self._replacing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(
    workers: Sequence[WorkerProcess], question: messages.Question, result: Any = None
) -> list[Any]:
    """The answers, or what was raised instead, in the order of the workers."""
    asked = (worker.ask(question, result) for worker in workers)
    return await asyncio.gather(*asked, return_exceptions=True)


def _failures(answers: Sequence[Any]) -> list[Exception]:
    """Those that count: a worker that died starts anew with what is served then."""
    return [
        answer
        for answer in answers
        if isinstance(answer, Exception) and not isinstance(answer, ChannelClosed)
    ]


def _check_end(task: asyncio.Task[None]) -> None:
    """Without its keepers a daemon would look well and heal no more: rather end it at once."""
    if not task.cancelled():
        log.critical("the supervisor failed", exc_info=task.exception())
        os._exit(1)  # its workers drain, and whoever started it starts it anew
