"""A simulated event loop with work beside the runs, as that of the daemon has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from sedp.engine.events import AnyStimulus, Arrived, BatchFinished, Finish, Gathered, Outcome
from sedp.engine.scheduler import Scheduler
from sedp.simulator.held_loop import NOBODY, HeldLoop
from sedp.simulator.loop import Simulator
from sedp.simulator.service import ServiceModel
from tests.stages.cut_demand import TARGET_NS

READING = -2  # what holds the loop between runs
PUMP_NS_MAX = 2_000_000  # of runs at a stretch, then sockets are read again
UNSEEN_TURNS = 2  # before a request is read, and after its answer is made


@dataclass(frozen=True, slots=True)
class Pauses:
    """Others take the core: after so many milliseconds of work on average, for some time.

    Args:
        every_ms: of work; 0 is never.
        length_ns: of the shortest and of the longest.
    """

    every_ms: float
    length_ns: tuple[int, int]

    def lengthen(self, work_ns: int, rng: np.random.Generator) -> int:
        """The time that some work takes."""
        if not self.every_ms:
            return work_ns
        count = rng.poisson(work_ns / 1e6 / self.every_ms)
        return work_ns + int(rng.uniform(*self.length_ns, count).sum())


class BusyLoop(HeldLoop):
    """Everything on one loop: reading requests by turns, the runs they set off, writing answers.

    A request counts from as much earlier as the daemon's `turn_clock` would have it.

    Args:
        read_ns, write_ns: of the loop, for each request and each answer.
        pauses: of the loop.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        service: ServiceModel,
        rng: np.random.Generator,
        *,
        read_ns: int,
        write_ns: int,
        pauses: Pauses,
        **others: Any,
    ) -> None:
        def serve(stage: int, events: int, rows: int, rng: np.random.Generator) -> int:
            return pauses.lengthen(service(stage, events, rows, rng), rng)

        super().__init__(scheduler, serve, rng, is_inline=lambda stage: True, **others)
        self._read_ns, self._write_ns = read_ns, write_ns
        self._lengthen: Callable[[int], int] = lambda work_ns: pauses.lengthen(work_ns, rng)
        self._unread: list[Arrived] = []
        self._being_read: list[Arrived] = []
        self._unwritten = 0
        self._turn_ns = self._busy_ns = self._pump_ns = 0
        self._is_busy = False  # since the last turn began

    def _feed(self, now_ns: int, stimulus: AnyStimulus) -> None:
        if type(stimulus) is Arrived:
            self._unread.append(stimulus)
        elif type(stimulus) is BatchFinished and stimulus.batch == READING:
            self._holder = NOBODY
            self._let_in(now_ns)
        else:
            self._unheard.append(stimulus)
            if type(stimulus) is BatchFinished and stimulus.batch == self._holder:
                self._holder = NOBODY
        if self._holder == NOBODY:
            while self._unheard:
                Simulator._feed(self, now_ns, self._unheard.popleft())
            self._go_on(now_ns)

    def _go_on(self, now_ns: int) -> None:
        is_pumping = now_ns - self._pump_ns < PUMP_NS_MAX
        if self._ready and (is_pumping or not self._unread):
            self._hold(self._ready.popleft())
        elif self._unread or self._unwritten:
            self._begin_turn(now_ns)
        else:
            self._is_busy = False

    def _begin_turn(self, now_ns: int) -> None:
        self._busy_ns = now_ns - self._turn_ns if self._is_busy else 0
        self._turn_ns, self._is_busy, self._holder = now_ns, True, READING
        self._being_read, self._unread = self._unread, []
        work_ns = len(self._being_read) * self._read_ns + self._unwritten * self._write_ns
        self._unwritten = 0
        self._push(now_ns + self._lengthen(work_ns), BatchFinished(READING))

    def _let_in(self, now_ns: int) -> None:
        earlier_ns = UNSEEN_TURNS * self._busy_ns
        for arrived in self._being_read:
            due_ns = self._turn_ns - earlier_ns + TARGET_NS
            seen = msgspec.structs.replace(arrived, due_ns=due_ns, more=True)
            Simulator._feed(self, now_ns, seen)
        Simulator._feed(self, now_ns, Gathered())
        self._pump_ns = now_ns

    def _finish(self, finish: Finish) -> None:
        if finish.outcome is Outcome.ANSWERED:
            self._unwritten += len(finish.events)
        super()._finish(finish)
