"""The simulated driver with an event loop of its own: inline runs hold it, threads cost a hop.

While an inline run is under way nobody is heard: arrivals, ends of other runs and timers wait, and
are told to the scheduler together as soon as it is over; only then the next inline run begins. A
run in a thread leaves the loop to others, and takes longer by the way there and back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from sedp.engine.events import AnyStimulus, BatchFinished, RunBatch
from sedp.engine.scheduler import Scheduler
from sedp.simulator.loop import Simulator
from sedp.simulator.service import ServiceModel

NOBODY = -1


class HeldLoop(Simulator):
    """As `Simulator`, which takes the other arguments.

    Args:
        is_inline: whether runs of a stage hold the loop; asked when they are to start.
        hop_ns: work of a run in a thread beside the service time.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        service: ServiceModel,
        rng: np.random.Generator,
        *,
        is_inline: Callable[[int], bool],
        hop_ns: int = 0,
        **others: Any,
    ) -> None:
        def serve(stage: int, events: int, rows: int, rng: np.random.Generator) -> int:
            return service(stage, events, rows, rng) + (0 if is_inline(stage) else hop_ns)

        super().__init__(scheduler, serve, rng, **others)
        self._is_inline = is_inline
        self._holder = NOBODY  # batch of the inline run under way
        self._ready: deque[RunBatch] = deque()
        self._unheard: deque[AnyStimulus] = deque()

    def _feed(self, now_ns: int, stimulus: AnyStimulus) -> None:
        if self._holder != NOBODY:
            if not (type(stimulus) is BatchFinished and stimulus.batch == self._holder):
                self._unheard.append(stimulus)
                return
            self._holder = NOBODY
        super()._feed(now_ns, stimulus)
        while self._unheard:
            super()._feed(now_ns, self._unheard.popleft())
        if self._ready:
            self._hold(self._ready.popleft())

    def _run_batch(self, run: RunBatch) -> None:
        if self._is_inline(run.stage):
            self._ready.append(run)
        else:
            super()._run_batch(run)

    def _hold(self, run: RunBatch) -> None:
        self._holder = run.batch
        super()._run_batch(run)
        if self._cores is not None:
            self._plan_cores(self._cores)
