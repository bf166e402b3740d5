"""The live driver: carries out the scheduler's commands on an event loop and its threads.

The only engine file that waits or reads a clock. Everything the scheduler hears and says happens
on the loop's thread; worker threads see nothing but `Operator.run`. Arrivals, and batches to be
run inline, wait for a pump that the loop turns after it has read its sockets: requests that arrive
together are admitted together, and share a batch even when no batch wait is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sedp.columns import Array, Batch
from sedp.engine.events import (
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    DrainBegan,
    Finish,
    Outcome,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.graph import Graph
from sedp.engine.scheduler import Scheduler
from sedp.engine.statistics import EngineStatistics
from sedp.engine.stimulus_log import StimulusLog
from sedp.errors import SedpError
from sedp.operator import Operator
from sedp.payload import Payload, answer
from sedp.pipeline import Pipeline, compile_graph

PUMP_NS_MAX = 2_000_000  # inline work at a stretch before the loop may look at its sockets again
FAILURE_LOG_GAP_NS = 1_000_000_000  # one traceback a second: more would cost more than serving

log = logging.getLogger(__name__)


class Unanswered(SedpError):
    """An event ended without an answer.

    Args:
        outcome: how it ended.
        stage: name of the stage where it ended, "" when at the door or between stages.
    """

    def __init__(self, outcome: Outcome, stage: str) -> None:
        where = f" at stage {stage!r}" if stage else ""
        super().__init__(f"{outcome.name.lower()}{where}")
        self.outcome = outcome
        self.stage = stage


class Waiting:
    """A caller and what it waits for."""

    __slots__ = ("error", "future", "payload", "pipeline")

    def __init__(
        self, pipeline: Pipeline, payload: Payload, future: asyncio.Future[dict[str, Array]]
    ) -> None:
        self.pipeline = pipeline
        self.payload = payload
        self.future = future
        self.error: Exception | None = None


class Engine:
    """All pipelines of a process, serving. Make it, and use it, on one running loop.

    Args:
        pipelines: compiled, their stages opened; names distinct.
        stimulus_log: makes the log to record into, given the graph.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        *,
        stimulus_log: Callable[[Graph], StimulusLog] | None = None,
    ) -> None:
        self.pipelines: Mapping[str, Pipeline] = {p.name: p for p in pipelines}
        graph = compile_graph(pipelines)
        self._numbers = {pipeline.name: number for number, pipeline in enumerate(pipelines)}
        self._operators = [
            Operator(stage, position)
            for pipeline in pipelines
            for position, stage in enumerate(pipeline.stages)
        ]
        self._scheduler = Scheduler(graph)
        self._log = stimulus_log(graph) if stimulus_log else None
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(
            max(1, sum(o.stage.use.plan.concurrency for o in self._operators)), "sedp-stage"
        )
        self._waiting: dict[int, Waiting] = {}
        self._next_event = 0
        self._now_ns = 0
        self._arrivals: list[tuple[int, int, int, int]] = []  # the fields of `Arrived`
        self._ready: deque[tuple[RunBatch, list[Payload]]] = deque()
        self._pumping = False
        self._empty = asyncio.Event()
        self._failure_logged_ns = -FAILURE_LOG_GAP_NS
        self._failures_unlogged = 0
        self._execute: dict[type, Callable[[Any], None]] = {
            RunBatch: self._run_batch,
            SetTimer: self._set_timer,
            Finish: self._finish,
        }

    async def infer(
        self, pipeline: str, request: Batch, *, deadline_ns: int | None = None
    ) -> Mapping[str, Array]:
        """Push one event through a pipeline.

        Args:
            pipeline: name of one of `pipelines`.
            request: the input columns of one event; at least one row.
            deadline_ns: on the `time.monotonic_ns` clock; the pipeline's default when `None`.

        Returns:
            The output columns by name.

        Raises:
            Unanswered: refused, too late, or failed. Cancelling the caller cancels the event.
        """
        target = self.pipelines[pipeline]
        if deadline_ns is None:
            deadline_ns = time.monotonic_ns() + target.deadline_ns
        event = self._next_event
        self._next_event += 1
        future: asyncio.Future[dict[str, Array]] = self._loop.create_future()
        payload = Payload(request, len(target.stages))
        self._waiting[event] = Waiting(target, payload, future)
        number, rows = self._numbers[pipeline], payload.rows
        self._arrivals.append((event, number, rows, deadline_ns))
        self._call_pump()
        try:
            return await future
        except asyncio.CancelledError:
            self._admit()
            if event in self._waiting:
                self._feed(Cancelled(event))
            raise

    def refuse(self, pipeline: str) -> Unanswered | None:
        """Why an event of a pipeline would be refused now however small it is; counts it so.

        For callers whose bodies are not worth reading then; the stimulus log does not hear of it.
        """
        reason = self._scheduler.refuse(self._numbers[pipeline])
        return None if reason is None else Unanswered(reason, "")

    def statistics(self) -> EngineStatistics:
        return self._scheduler.statistics()

    def begin_drain(self) -> None:
        """Refuse newcomers from now on."""
        self._admit()
        self._feed(DrainBegan())

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        self._admit()
        while self._scheduler.in_flight:
            self._empty.clear()
            await self._empty.wait()

    def close(self) -> None:
        """Stop the threads and the log; what still runs is abandoned."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._log:
            self._log.close()

    # From the world to the scheduler.

    def _admit(self) -> None:
        """Tell of all that have arrived since the last time."""
        arrivals, self._arrivals = self._arrivals, []
        if arrivals:
            last = arrivals.pop()
            for arrival in arrivals:
                self._feed(Arrived(*arrival, more=True))
            self._feed(Arrived(*last))

    def _feed(self, stimulus: AnyStimulus, not_before_ns: int = 0) -> None:
        self._now_ns = max(time.monotonic_ns(), self._now_ns, not_before_ns)
        commands = self._scheduler.handle(self._now_ns, stimulus)
        if self._log:
            self._log.append(self._now_ns, stimulus, commands)
        for command in commands:
            self._execute[type(command)](command)
        if not self._scheduler.in_flight:
            self._empty.set()

    def _timer_fired(self, timer: SetTimer) -> None:
        # Loops round timers to a millisecond and may be early; the scheduler must not see that.
        self._feed(TimerFired(timer.stage), not_before_ns=timer.due_ns)

    def _batch_finished(self, run: RunBatch, error: Exception | None) -> None:
        if error is not None:
            self._note_failure(run, error)
        self._feed(BatchFinished(run.batch, failed=error is not None))

    # From the scheduler to the world.

    def _set_timer(self, timer: SetTimer) -> None:
        delay_s = max(0, timer.due_ns - self._now_ns) / 1e9
        self._loop.call_later(delay_s, self._timer_fired, timer)

    def _finish(self, finish: Finish) -> None:
        for event in finish.events:
            waiting = self._waiting.pop(event)
            if waiting.future.done():
                continue  # the caller is gone
            if finish.outcome is Outcome.ANSWERED:
                waiting.future.set_result(answer(waiting.pipeline, waiting.payload))
                continue
            stage = self._operators[finish.stage].stage.name if finish.stage >= 0 else ""
            unanswered = Unanswered(finish.outcome, stage)
            unanswered.__cause__ = waiting.error
            waiting.future.set_exception(unanswered)

    def _run_batch(self, run: RunBatch) -> None:
        operator = self._operators[run.stage]
        payloads = [self._waiting[event].payload for event in run.events]
        if not operator.inline:
            self._threads.submit(self._run_in_thread, operator, run, payloads)
            return
        self._ready.append((run, payloads))
        self._call_pump()

    def _call_pump(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Admit newcomers; run ready batches, and those they make ready, for a bounded while."""
        self._admit()
        stop_ns = time.monotonic_ns() + PUMP_NS_MAX
        while self._ready and time.monotonic_ns() < stop_ns:
            run, payloads = self._ready.popleft()
            self._batch_finished(run, _attempt(self._operators[run.stage], payloads))
        self._pumping = bool(self._ready or self._arrivals)
        if self._pumping:
            self._loop.call_soon(self._pump)

    def _run_in_thread(self, operator: Operator, run: RunBatch, payloads: list[Payload]) -> None:
        error = _attempt(operator, payloads)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            self._loop.call_soon_threadsafe(self._batch_finished, run, error)

    def _note_failure(self, run: RunBatch, error: Exception) -> None:
        for event in run.events:
            if event in self._waiting:
                self._waiting[event].error = error
        self._failures_unlogged += 1
        if self._now_ns - self._failure_logged_ns >= FAILURE_LOG_GAP_NS:
            name = self._operators[run.stage].stage.name
            log.error(
                "stage %r failed on a batch of %d events (%d failed runs since the last line)",
                name,
                len(run.events),
                self._failures_unlogged,
                exc_info=error,
            )
            self._failure_logged_ns = self._now_ns
            self._failures_unlogged = 0


def _attempt(operator: Operator, payloads: list[Payload]) -> Exception | None:
    """Run the stage; its failure is a result, not an accident of ours."""
    try:
        operator.run(payloads)
    except Exception as err:
        return err
    return None
