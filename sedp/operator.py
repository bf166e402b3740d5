"""Working: one run of a stage on a batch, and where it should run.

Inline on the event loop costs nothing to get to but holds up everybody. In a thread requests that
arrive meanwhile are read, and share the next batch; but the hop there is paid by the loop, too,
which waits for the interpreter whenever a run holds it: with several stages that is milliseconds,
not the 100 µs of the hop itself. So `auto` measures the wall time of runs: stages of a few
milliseconds go inline, and return to threads when load makes their batches long (`loop_bounds`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sedp.columns import Array, Batch, Level, zero_batch
from sedp.manager.loop_bounds import HOLDS_NS_MAX, belongs_inline
from sedp.payload import IDLE, Moment, Payload, check_result, hand_out, join_batch, stand_in
from sedp.pipeline import BoundStage

FLIPS_MAX = 16  # of a stage that nobody has asked for yet
RUNS_AFTER = 32  # measured after a flip, to say what came of it


@dataclass(slots=True, eq=False)
class Flip:
    """`auto` has moved a stage's runs.

    Args:
        at_ns: on the monotonic clock.
        inline: to the event loop; else to threads.
        run_ns: wall time of the usual run until then.
        runs: measured since, at most `RUNS_AFTER`; in `total_ns` together.
    """

    at_ns: int
    inline: bool
    run_ns: int
    runs: int = 0
    total_ns: int = 0


class Operator:
    """Runs one stage; safe in several threads at once.

    Args:
        stage: what to run.
        position: its place in the pipeline.

    Attributes:
        is_held: `auto` leaves the stage where it is.
        flips: the last ones, oldest first; whoever tells of them takes them out.
    """

    def __init__(self, stage: BoundStage, position: int) -> None:
        self.stage = stage
        self.position = position
        self._is_by_item = all(spec.level is Level.ITEM for spec in stage.provides.values())
        self._typical_ns = 0
        self.is_held = False
        self.flips: deque[Flip] = deque(maxlen=FLIPS_MAX)
        self._last_flip: Flip | None = None
        self._flipping = threading.Lock()
        self.inline = False
        self.change_executor(stage.use.executor)

    def change_executor(self, executor: str) -> None:
        """Run it there from the next batch on: inline, thread or auto, as in `StageUse`.

        With auto it stays where it is until its runs have been measured.
        """
        care = self.stage.use.care  # what runs on the event loop cannot be given up
        self._chooses = executor == "auto" and not (care.timeout_ns or care.hedge_ns)
        self.inline = executor == "inline" or (self._chooses and self.inline)

    def run(self, payloads: Sequence[Payload], moment: Moment = IDLE) -> None:
        """Join the events' columns, process them, and hand the results back to the events.

        Raises:
            Exception: whatever the stage raises, or StageError for a broken contract.
        """
        self.hand_out(self.compute(payloads, moment), payloads)

    def compute(self, payloads: Sequence[Payload], moment: Moment) -> Batch:
        """The results for several events, not handed out yet; as `run` otherwise."""
        started_ns = time.perf_counter_ns()
        stage = self.stage
        batch = join_batch(stage, payloads, moment)
        if stage.view and not batch.row_count and self._is_by_item:
            result: Mapping[str, Array] = zero_batch(stage.provides, ()).columns
        else:
            result = stage.use.stage.process(batch)
        chunk = check_result(stage, batch, result)
        if self._chooses:
            self._observe(time.perf_counter_ns() - started_ns)
        return chunk

    def attempt(self, payloads: Sequence[Payload], moment: Moment) -> Batch | Exception:
        """As `compute`; a failure of the stage is a result, not an accident of ours."""
        try:
            return self.compute(payloads, moment)
        except Exception as err:
            return err

    def hand_out(self, chunk: Batch, payloads: Sequence[Payload]) -> None:
        """Give the events what `compute` returned for them."""
        hand_out(self.stage, self.position, chunk, payloads)

    def stand_in(self, payloads: Sequence[Payload]) -> None:
        """Give the events the columns that stand for those of this stage, and mark them so."""
        hand_out(self.stage, self.position, stand_in(self.stage, payloads), payloads)
        for payload in payloads:
            payload.degraded += (self.stage.name,)
            payload.stood_in = True

    def _observe(self, service_ns: int) -> None:
        """Track the usual run and move to the better place."""
        if self._typical_ns == 0:  # the first run may compile or fill caches: it says nothing
            self._typical_ns = HOLDS_NS_MAX
            return
        self._typical_ns += (service_ns - self._typical_ns) >> 3
        last = self._last_flip
        if last is not None and last.runs < RUNS_AFTER:
            last.runs += 1
            last.total_ns += service_ns
        if not self.is_held and belongs_inline(self._typical_ns, self.inline) != self.inline:
            self._flip()

    def _flip(self) -> None:
        with self._flipping:  # or runs that end together tell of one flip twice
            inline = belongs_inline(self._typical_ns, self.inline)
            if inline != self.inline:
                self.inline = inline
                self._last_flip = Flip(time.monotonic_ns(), inline, self._typical_ns)
                self.flips.append(self._last_flip)
