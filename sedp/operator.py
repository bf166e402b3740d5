"""Working: one run of a stage on a batch, and where it should run.

Inline on the event loop costs nothing to get to but holds up everybody; a thread costs a hop of
50 to 150 µs, but requests that arrive meanwhile are read, and share the next batch. So `auto`
measures the wall time of runs: stages shorter than the hop go inline, and return to threads when
load makes their batches long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sedp.payload import Payload, join_batch, split_batch
from sedp.pipeline import BoundStage

INLINE_NS_MAX = 200_000  # about the price of a hop to a thread and back
THREAD_NS_MIN = 400_000  # twice that: a stage at the border must not flutter


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
        self._typical_ns = 0

    def run(self, payloads: Sequence[Payload]) -> None:
        """Join the events' columns, process them, and hand the results back to the events.

        Raises:
            Exception: whatever the stage raises, or StageError for a broken contract.
        """
        started_ns = time.perf_counter_ns()
        batch = join_batch(self.stage, payloads)
        result = self.stage.use.stage.process(batch)
        split_batch(self.stage, self.position, batch, result, payloads)
        if self.stage.use.executor == "auto":
            self._observe(time.perf_counter_ns() - started_ns)

    def _observe(self, service_ns: int) -> None:
        """Track the usual run and move to the better place."""
        if self._typical_ns == 0:  # the first run may compile or fill caches: it says nothing
            self._typical_ns = THREAD_NS_MIN
            return
        self._typical_ns += (service_ns - self._typical_ns) >> 3
        self.inline = self._typical_ns < (THREAD_NS_MIN if self.inline else INLINE_NS_MAX)
