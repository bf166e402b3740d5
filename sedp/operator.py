"""Working: one run of a stage on a batch, and where it should run.

Inline on the event loop costs nothing to get to but holds up everybody; a thread costs a hop of
50 to 150 µs, and with Python's one lock a thread that wants the lock often waits for it longer
than it works. So `auto` measures. In a thread only CPU time counts, since waiting for the lock
says nothing about the stage; inline the wall counts, since that is what everybody waits. A stage
that turns out to wait for something else goes back to threads, each time for twice as many runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sedp.payload import Payload, join_batch, split_batch
from sedp.pipeline import BoundStage

INLINE_NS_MAX = 200_000  # about the price of a hop to a thread and back
THREAD_NS_MIN = 400_000  # twice that: a stage at the border must not flutter
PATIENCE_MIN, PATIENCE_MAX = 8, 1 << 20  # runs in threads before inline is tried (again)


class Operator:
    """Runs one stage; safe in several threads at once.

    Args:
        stage: what to run.
        position: its place in the pipeline.
    """

    def __init__(self, stage: BoundStage, position: int) -> None:
        self.stage = stage
        self.position = position
        self.inline = stage.use.executor == "inline"
        self._measures = stage.use.executor == "auto"
        self._typical_ns = 0
        self._runs_here = 0
        self._patience = PATIENCE_MIN

    def run(self, payloads: Sequence[Payload]) -> None:
        """Join the events' columns, process them, and hand the results back to the events.

        Raises:
            Exception: whatever the stage raises, or StageError for a broken contract.
        """
        inline = self.inline
        clock_ns = time.perf_counter_ns if inline else time.thread_time_ns
        started_ns = clock_ns()
        batch = join_batch(self.stage, payloads)
        result = self.stage.use.stage.process(batch)
        split_batch(self.stage, self.position, batch, result, payloads)
        if self._measures and inline is self.inline:
            self._observe(clock_ns() - started_ns)

    def _observe(self, service_ns: int) -> None:
        """Track the usual run here, and move to the better place."""
        self._runs_here += 1
        if self._runs_here <= 2:  # the first run anywhere may compile or fill caches
            self._typical_ns = service_ns
            return
        self._typical_ns += (service_ns - self._typical_ns) >> 3
        if self.inline and self._typical_ns > THREAD_NS_MIN:
            self._patience = min(2 * self._patience, PATIENCE_MAX)
            self._move(inline=False)
        elif (
            not self.inline
            and self._runs_here >= self._patience
            and self._typical_ns < INLINE_NS_MAX
        ):
            self._move(inline=True)

    def _move(self, *, inline: bool) -> None:
        self.inline = inline
        self._runs_here = 0
