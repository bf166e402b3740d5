"""The live driver: carries out the scheduler's commands on an event loop and its threads.

The only engine file that waits or reads a clock. Everything the scheduler hears and says happens
on the loop's thread; worker threads see nothing but `Operator.run`. Admitted events, and batches to
be run inline, wait for a pump that the loop turns after it has read its sockets: requests that
arrive together share a batch even when no batch wait is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sedp.answer import Answer, FailedRuns, Unanswered, Waiting
from sedp.columns import Batch
from sedp.engine.admission import Admission
from sedp.engine.events import (
    NEVER_NS,
    Abandon,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    DrainBegan,
    FallBack,
    Finish,
    Gathered,
    LimitChanged,
    Outcome,
    PlanChanged,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.graph import Graph, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.engine.statistics import EngineStatistics
from sedp.engine.stimulus_log import StimulusLog
from sedp.operator import Operator
from sedp.payload import Moment, Payload
from sedp.pipeline import Pipeline, compile_graph

UNKNOWN_LEVEL = 0  # of a request of which only the head has been read
PUMP_NS_MAX = 2_000_000  # inline work at a stretch before the loop may look at its sockets again
THREADS_MAX = 256  # started when first needed: plans may grow while serving


class Engine:
    """All pipelines of a process, serving. Make it, and use it, on one running loop.

    Args:
        pipelines: compiled, their stages opened; names distinct.
        stimulus_log: makes the log to record into, given the graph.
        admissions: one for each pipeline, `None` to admit whatever there is room for; or none.

    Attributes:
        operators: that run the stages, and say where, in the order of the graph.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        *,
        stimulus_log: Callable[[Graph], StimulusLog] | None = None,
        admissions: Sequence[Admission | None] = (),
    ) -> None:
        self.pipelines: Mapping[str, Pipeline] = {p.name: p for p in pipelines}
        graph = compile_graph(pipelines)
        self._numbers = {pipeline.name: number for number, pipeline in enumerate(pipelines)}
        self.operators = [
            Operator(stage, position)
            for pipeline in pipelines
            for position, stage in enumerate(pipeline.stages)
        ]
        self._scheduler = Scheduler(graph, admissions)
        self._log = stimulus_log(graph) if stimulus_log else None
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(THREADS_MAX, "sedp-stage")
        self._waiting: dict[int, Waiting] = {}
        self._next_event = 0
        self._now_ns = 0
        self._is_gathering = False  # arrivals of this turn wait for others
        self._turn_ns = 0
        self._let_pass = 0  # by `refuse`, in this turn
        self._abandoned: set[int] = set()  # batches under way that nobody wants
        self._degraded = {p.name: Counter[str]() for p in pipelines}  # answers, by stage
        self._ready: deque[tuple[RunBatch, list[Payload], Moment]] = deque()
        self._pumping = False
        self._empty = asyncio.Event()
        self._drainers = 0  # that wait for it
        self._failures = FailedRuns()
        self._execute: dict[type, Callable[[Any], None]] = {
            RunBatch: self._run_batch,
            SetTimer: self._set_timer,
            Finish: self._finish,
            FallBack: self._fall_back,
            Abandon: self._abandon,
        }

    async def infer(
        self,
        pipeline: str,
        request: Batch,
        *,
        deadline_ns: int | None = None,
        due_ns: int | None = None,
        level: int | None = None,
        user: int = 0,
        tenant: int = 0,
    ) -> Answer:
        """Push one event through a pipeline.

        Args:
            pipeline: name of one of `pipelines`.
            request: the input columns of one event; at least one row.
            deadline_ns: on the `time.monotonic_ns` clock; the pipeline's default when `None`.
            due_ns: when its latency target is used up; by the pipeline's, from now, when `None`.
            level: of priority, 1 the highest; the pipeline's default when `None`.
            user: 0 to 127, a hash of the user; see `Arrived`.
            tenant: whose it is.

        Raises:
            Unanswered: refused, too late, or failed. Cancelling the caller cancels the event.
        """
        target, number = self.pipelines[pipeline], self._numbers[pipeline]
        if deadline_ns is None:
            deadline_ns = time.monotonic_ns() + target.deadline_ns
        if due_ns is None:
            due_ns = time.monotonic_ns() + target.target_ns if target.target_ns else NEVER_NS
        if level is None:
            level = target.level_default
        event = self._next_event
        self._next_event += 1
        future: asyncio.Future[Answer] = self._loop.create_future()
        payload = Payload(request, len(target.stages), due_ns, tenant)
        self._waiting[event] = Waiting(target, payload, future)
        rows = payload.rows
        self._is_gathering = True
        self._feed(Arrived(event, number, rows, deadline_ns, due_ns, level, user, tenant, True))
        self._call_pump()
        try:
            return await future
        except asyncio.CancelledError:
            if event in self._waiting:
                self._feed(Cancelled(event))
            raise

    def refuse(self, pipeline: str, arrived_ns: int, level: int) -> Unanswered | None:
        """Why an event of a pipeline that arrived so would be refused; counts it so.

        For callers whose bodies are not worth reading then; the stimulus log does not hear of it.

        Args:
            arrived_ns: the same for all that are asked about before one of them arrives.
            level: `UNKNOWN_LEVEL` when nobody could be let in.
        """
        if arrived_ns != self._turn_ns:
            self._turn_ns, self._let_pass = arrived_ns, 0
        now_ns, due_ns = arrived_ns, NEVER_NS
        if target_ns := self.pipelines[pipeline].target_ns:
            now_ns, due_ns = time.monotonic_ns(), arrived_ns + target_ns
        is_known = level != UNKNOWN_LEVEL
        level, others = (level, self._let_pass) if is_known else (1, 0)
        reason = self._scheduler.refuse(now_ns, self._numbers[pipeline], due_ns, level, others)
        if reason is not None:
            return Unanswered(reason, "")
        self._let_pass += is_known
        return None

    def statistics(self) -> EngineStatistics:
        statistics = self._scheduler.statistics(time.monotonic_ns())
        parts = (replace(p, degraded=dict(self._degraded[p.name])) for p in statistics.pipelines)
        return replace(statistics, pipelines=tuple(parts))

    def change_plan(self, stage: int, plan: StagePlan) -> None:
        """New knobs for a stage, by its number in the graph."""
        self._feed(PlanChanged(stage, plan))

    def change_limit(self, pipeline: str, in_flight_max: int) -> None:
        """At most so many events of a pipeline inside."""
        self._feed(LimitChanged(self._numbers[pipeline], in_flight_max))

    def begin_drain(self) -> None:
        """Refuse newcomers from now on."""
        self._feed(DrainBegan())

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        self._drainers += 1
        while self._scheduler.in_flight:
            self._empty.clear()
            await self._empty.wait()
        self._drainers -= 1

    def close(self) -> None:
        """Stop the threads and the log; what still runs is abandoned."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._log:
            self._log.close()

    # From the world to the scheduler.

    def _feed(self, stimulus: AnyStimulus, not_before_ns: int = 0) -> None:
        self._now_ns = now_ns = max(time.monotonic_ns(), self._now_ns, not_before_ns)
        commands = self._scheduler.handle(now_ns, stimulus)
        if self._log:
            self._log.append(now_ns, stimulus, commands)
        for command in commands:
            self._execute[type(command)](command)
        if self._drainers and not self._scheduler.in_flight:
            self._empty.set()

    def _timer_fired(self, timer: SetTimer) -> None:
        # Loops round timers to a millisecond and may be early; the scheduler must not see that.
        self._feed(TimerFired(timer.stage, timer.batch), not_before_ns=timer.due_ns)

    def _batch_finished(
        self, run: RunBatch, payloads: list[Payload], result: Batch | Exception, worked_ns: int = 0
    ) -> None:
        if isinstance(result, Exception):
            for event in run.events:
                if event in self._waiting:
                    self._waiting[event].error = result
            self._failures.note(self._now_ns, self.operators[run.stage].stage.name, run, result)
        elif run.batch not in self._abandoned:
            self.operators[run.stage].hand_out(result, payloads)
        self._abandoned.discard(run.batch)
        self._feed(BatchFinished(run.batch, isinstance(result, Exception), worked_ns))

    # From the scheduler to the world.

    def _set_timer(self, timer: SetTimer) -> None:
        delay_s = max(0, timer.due_ns - self._now_ns) / 1e9
        self._loop.call_later(delay_s, self._timer_fired, timer)

    def _finish(self, finish: Finish) -> None:
        outcome = finish.outcome
        stage = self.operators[finish.stage].stage.name if finish.stage >= 0 else ""
        for event in finish.events:
            waiting = self._waiting.pop(event)
            if waiting.future.done():
                continue  # the caller is gone
            if outcome is not Outcome.ANSWERED:
                waiting.fail(outcome, stage, timed_out=finish.timed_out)
            elif degraded := waiting.answer().degraded:
                self._degraded[waiting.pipeline.name].update(degraded)

    def _fall_back(self, fallback: FallBack) -> None:
        waiting = [self._waiting[event] for event in fallback.events]
        self.operators[fallback.stage].stand_in([one.payload for one in waiting])
        for one in waiting:
            one.failed |= fallback.failed

    def _abandon(self, abandon: Abandon) -> None:
        self._abandoned.add(abandon.batch)

    def _run_batch(self, run: RunBatch) -> None:
        operator = self.operators[run.stage]
        payloads = [self._waiting[event].payload for event in run.events]
        moment = Moment(self._now_ns, run.pressure)
        if not operator.inline:
            self._threads.submit(self._run_in_thread, operator, run, payloads, moment)
            return
        self._ready.append((run, payloads, moment))
        self._call_pump()

    def _call_pump(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Start what has come in; run ready batches, and those they make ready, for a while."""
        if self._is_gathering:
            self._is_gathering = False
            self._feed(Gathered())
        stop_ns = time.monotonic_ns() + PUMP_NS_MAX
        while self._ready and (now_ns := time.monotonic_ns()) < stop_ns:
            run, payloads, moment = self._ready.popleft()
            result = self.operators[run.stage].attempt(payloads, moment)
            self._batch_finished(run, payloads, result, time.monotonic_ns() - now_ns)
        self._pumping = False
        if self._ready or self._is_gathering:
            self._call_pump()

    def _run_in_thread(
        self, operator: Operator, run: RunBatch, payloads: list[Payload], moment: Moment
    ) -> None:
        result = operator.attempt(payloads, moment)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            self._loop.call_soon_threadsafe(self._batch_finished, run, payloads, result)
