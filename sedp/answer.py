"""What a caller of the engine gets: an answer, or why there is none."""

from __future__ import annotations

import asyncio
import logging

from sedp.columns import Array
from sedp.engine.events import Outcome, RunBatch
from sedp.errors import SedpError
from sedp.payload import Payload, answer
from sedp.pipeline import Pipeline

FAILURE_LOG_GAP_NS = 1_000_000_000  # one traceback a second: more would cost more than serving

log = logging.getLogger(__name__)


class Unanswered(SedpError):
    """An event ended without an answer.

    Args:
        outcome: how it ended.
        stage: name of the stage where it ended, "" when at the door or between stages.


    Attributes:
        level: of the request, where somebody has found that out; 0 otherwise.
        failed: a run of it raised or took too long.
    """

    level = 0
    failed = False

    def __init__(self, outcome: Outcome, stage: str) -> None:
        where = f" at stage {stage!r}" if stage else ""
        super().__init__(f"{outcome.name.lower()}{where}")
        self.outcome = outcome
        self.stage = stage


class Answer(dict[str, Array]):
    """The output columns by name.

    Attributes:
        degraded: names of the stages that fell short of what they would have done.
        failed: a run of it raised or took too long, and a fallback stood in.
    """

    degraded: tuple[str, ...] = ()
    failed = False


class Waiting:
    """A caller and what it waits for."""

    __slots__ = ("error", "failed", "future", "payload", "pipeline")

    def __init__(
        self, pipeline: Pipeline, payload: Payload, future: asyncio.Future[Answer]
    ) -> None:
        self.pipeline = pipeline
        self.payload = payload
        self.future = future
        self.error: Exception | None = None
        self.failed = False  # a fallback stood in for a run of it

    def answer(self) -> Answer:
        """Hand over what the stages have provided."""
        answered = Answer(answer(self.pipeline, self.payload))
        if self.payload.degraded:
            answered.degraded, answered.failed = self.payload.degraded, self.failed
        self.future.set_result(answered)
        return answered

    def fail(self, outcome: Outcome, stage: str, *, timed_out: bool) -> None:
        """Say why there is no answer."""
        unanswered = Unanswered(outcome, stage)
        unanswered.failed = self.failed or timed_out or outcome is Outcome.FAILED
        unanswered.__cause__ = self.error
        self.future.set_exception(unanswered)


class FailedRuns:
    """Logs runs that failed, with a bound on how often."""

    def __init__(self) -> None:
        self._logged_ns = -FAILURE_LOG_GAP_NS
        self._unlogged = 0

    def note(self, now_ns: int, stage: str, run: RunBatch, error: Exception) -> None:
        """A run of `stage` raised."""
        self._unlogged += 1
        if now_ns - self._logged_ns < FAILURE_LOG_GAP_NS:
            return
        log.error(
            "stage %r failed on a batch of %d events (%d failed runs since the last line)",
            stage,
            len(run.events),
            self._unlogged,
            exc_info=error,
        )
        self._logged_ns = now_ns
        self._unlogged = 0
