"""The scheduler core: `handle(now_ns, stimulus) -> commands`, pure and total.

Theory of operation. An event is admitted into the queues of its pipeline's first stages; `flow`
moves it from stage to stage in batches, and it is answered when it has passed them all. A batch
that fails is run again event by event, so only the guilty one fails. Deadlines end events in two
ways: on dequeue, when the time left is less than the stages ahead need at best; and by a sweep, so
that a hung stage cannot keep a caller waiting. Every arrived event ends in exactly one `Finish`.

The driver owes the core three things: `now_ns` never falls from one call to the next; every
`RunBatch` is followed by one `BatchFinished`, every `SetTimer` by a `TimerFired` not before its
time; and an `Arrived` that says `more` at once by another one. Prior art: SEDA (Welsh 2001) for
stages and admission, dask's worker state machine and h11 for the shape of the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sedp.engine.admission import refusal
from sedp.engine.event import Event
from sedp.engine.events import (
    DEADLINE_TIMER,
    NEVER_NS,
    AnyCommand,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    DrainBegan,
    Finish,
    Outcome,
    PlanChanged,
    TimerFired,
)
from sedp.engine.flow import Commands, Flow
from sedp.engine.graph import Graph
from sedp.engine.statistics import EngineStatistics, pipeline_statistics, stage_statistics


class Scheduler:
    """One for all pipelines of a process. Feed it stimuli; carry out what it returns."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._flow = Flow(graph)
        self._draining = False
        self._handlers: dict[type, Callable[[int, Any, Commands], None]] = {
            Arrived: self._arrived,
            BatchFinished: self._batch_finished,
            TimerFired: self._timer_fired,
            Cancelled: self._cancelled,
            PlanChanged: self._plan_changed,
            DrainBegan: self._drain_began,
        }

    @property
    def in_flight(self) -> int:
        """Events inside, over all pipelines; ended ones count until no run holds them."""
        return len(self._flow.events)

    def handle(self, now_ns: int, stimulus: AnyStimulus) -> list[AnyCommand]:
        """Take note of what happened and say what to do, in order."""
        commands: Commands = []
        self._handlers[type(stimulus)](now_ns, stimulus, commands)
        return commands

    def refuse(self, pipeline: int) -> Outcome | None:
        """Why an event of a pipeline would be refused now however small it is; counts it so."""
        state = self._flow.pipelines[pipeline]
        reason = refusal(state, 1, self._draining)
        if reason is not None:
            state.outcomes[reason] += 1
        return reason

    def statistics(self) -> EngineStatistics:
        names = [pipeline.node.name for pipeline in self._flow.pipelines]
        return EngineStatistics(
            tuple(pipeline_statistics(state) for state in self._flow.pipelines),
            tuple(stage_statistics(s, names[s.node.pipeline]) for s in self._flow.stages),
        )

    def _arrived(self, now_ns: int, arrived: Arrived, out: Commands) -> None:
        pipeline = self._flow.pipelines[arrived.pipeline]
        reason = refusal(pipeline, arrived.rows, self._draining)
        if reason is None:
            event = Event(
                arrived.event,
                arrived.pipeline,
                arrived.rows,
                arrived.deadline_ns,
                now_ns,
                len(pipeline.stages),
            )
            self._flow.enter(event, now_ns)
        else:
            pipeline.outcomes[reason] += 1
            out.append(Finish((arrived.event,), reason))
        if not arrived.more:
            self._flow.begin(now_ns, out)

    def _batch_finished(self, now_ns: int, finished: BatchFinished, out: Commands) -> None:
        run = self._flow.runs.pop(finished.batch)
        stage = run.stage
        service_ns = now_ns - run.started_ns
        stage.running -= 1
        stage.service_ns.record(service_ns)
        if not finished.failed:
            stage.floor.observe(service_ns)
            stage.refresh_path_floor()
            self._flow.leave(stage, run.events, run.rows, now_ns, out)
        else:
            stage.failures += 1
            if len(run.events) > 1:
                stage.again.extend(run.events)
            else:
                self._flow.end(run.events, Outcome.FAILED, stage, now_ns, out)
                self._flow.leave(stage, run.events, run.rows, now_ns, out)
        self._flow.dispatch(stage, now_ns, out)

    def _timer_fired(self, now_ns: int, fired: TimerFired, out: Commands) -> None:
        if fired.stage == DEADLINE_TIMER:
            self._flow.sweep(now_ns, out)
            return
        stage = self._flow.stages[fired.stage]
        if now_ns >= stage.timer_ns:  # else a stale one; the right one is still to come
            stage.timer_ns = NEVER_NS
            self._flow.dispatch(stage, now_ns, out)

    def _cancelled(self, now_ns: int, cancelled: Cancelled, out: Commands) -> None:
        event = self._flow.events.get(cancelled.event)
        if event is not None:
            self._flow.end([event], Outcome.CANCELLED, None, now_ns, out)

    def _plan_changed(self, now_ns: int, changed: PlanChanged, out: Commands) -> None:
        stage = self._flow.stages[changed.stage]
        stage.plan = changed.plan
        stage.queue.rows_max = changed.plan.queue_rows_max
        self._flow.dispatch(stage, now_ns, out)
        self._flow.unblock(stage, now_ns, out)

    def _drain_began(self, now_ns: int, began: DrainBegan, out: Commands) -> None:
        self._draining = True
