"""The scheduler core: `handle(now_ns, stimulus) -> commands`, pure and total.

Theory of operation. An event is admitted into the queues of its pipeline's first stages; `flow`
moves it from stage to stage in batches, and it is answered when it has passed them all. A batch
that fails is run again event by event, so only the guilty one fails. Deadlines end events in two
ways: on dequeue, when the time left is less than the stages ahead need at best; and by a sweep, so
that a hung stage cannot keep a caller waiting. Every arrived event ends in exactly one `Finish`.

The driver owes the core three things: `now_ns` never falls from one call to the next; every
`RunBatch` is followed by one `BatchFinished`, every `SetTimer` by a `TimerFired` not before its
time; and an `Arrived` that says `more` before long by a `Gathered`. Prior art: SEDA (Welsh 2001)
for stages and admission, dask's worker state machine and h11 for the shape of the core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sedp.engine.admission import Admission, lacks_room
from sedp.engine.event import Event
from sedp.engine.events import (
    DEADLINE_TIMER,
    NEVER_NS,
    NO_BATCH,
    AnyCommand,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    DrainBegan,
    Finish,
    Gathered,
    LimitChanged,
    Outcome,
    PlanChanged,
    TimerFired,
)
from sedp.engine.flow import Commands, Flow
from sedp.engine.graph import Graph
from sedp.engine.stage_state import PipelineState
from sedp.engine.statistics import EngineStatistics, pipeline_statistics, stage_statistics


class Scheduler:
    """One for all pipelines of a process. Feed it stimuli; carry out what it returns.

    Args:
        admissions: one for each pipeline, `None` to admit whatever there is room for; or none.
    """

    def __init__(self, graph: Graph, admissions: Sequence[Admission | None] = ()) -> None:
        self.graph = graph
        self._flow = Flow(graph, admissions or (None,) * len(graph.pipelines))
        self._draining = False
        self._handlers: dict[type, Callable[[int, Any, Commands], None]] = {
            Arrived: self._arrived,
            Gathered: self._gathered,
            BatchFinished: self._batch_finished,
            TimerFired: self._timer_fired,
            Cancelled: self._cancelled,
            PlanChanged: self._plan_changed,
            LimitChanged: self._limit_changed,
            DrainBegan: self._drain_began,
        }

    @property
    def in_flight(self) -> int:
        """Events inside, over all pipelines; ended ones count until no run holds them."""
        return len(self._flow.inside.events)

    def handle(self, now_ns: int, stimulus: AnyStimulus) -> list[AnyCommand]:
        """Take note of what happened and say what to do, in order."""
        commands: Commands = []
        self._handlers[type(stimulus)](now_ns, stimulus, commands)
        return commands

    def refuse(
        self,
        now_ns: int,
        pipeline: int,
        due_ns: int = NEVER_NS,
        level: int = 1,
        others: int = 0,
    ) -> Outcome | None:
        """Why an event of a pipeline would be refused if it were small; counts it so.

        Args:
            others: events of the same kind that were let pass, and have not arrived yet.
        """
        state = self._flow.pipelines[pipeline]
        state.coming_rows = state.rows_low * others
        reason = self._closed(now_ns, state.rows_low, state, others)
        if reason is None and state.admission is not None:
            newcomer = Arrived(-1, pipeline, state.rows_low, NEVER_NS, due_ns, level)
            reason = state.admission.refusal(now_ns, newcomer, state)
        state.coming_rows = 0
        if reason is not None:
            state.outcomes[reason] += 1
        return reason

    def statistics(self, now_ns: int = 0) -> EngineStatistics:
        """The counters; `now_ns` matters to the pressure alone."""
        names = [pipeline.node.name for pipeline in self._flow.pipelines]
        return EngineStatistics(
            tuple(pipeline_statistics(state, now_ns) for state in self._flow.pipelines),
            tuple(stage_statistics(s, names[s.node.pipeline]) for s in self._flow.stages),
        )

    def _arrived(self, now_ns: int, arrived: Arrived, out: Commands) -> None:
        pipeline = self._flow.pipelines[arrived.pipeline]
        if arrived.rows != pipeline.rows_low:
            pipeline.note_rows(arrived.rows)
        reason = self._closed(now_ns, arrived.rows, pipeline)
        if reason is None and pipeline.admission is not None:
            reason = pipeline.admission.refusal(now_ns, arrived, pipeline)
        if reason is None:
            self._flow.enter(Event(arrived, now_ns, len(pipeline.stages)), now_ns)
        else:
            pipeline.outcomes[reason] += 1
            out.append(Finish((arrived.event,), reason))
        if not arrived.more:
            self._flow.begin(now_ns, out)

    def _gathered(self, now_ns: int, gathered: Gathered, out: Commands) -> None:
        self._flow.begin(now_ns, out)

    def _closed(
        self, now_ns: int, rows: int, pipeline: PipelineState, others: int = 0
    ) -> Outcome | None:
        """Why nobody of `rows` rows can come in, whatever admission control says."""
        if self._draining:
            return Outcome.DRAINING
        if lacks_room(pipeline, rows + pipeline.coming_rows, others):
            return Outcome.QUEUE_FULL
        if pipeline.guarded and any(stage.is_shut(now_ns) for stage in pipeline.guarded):
            return Outcome.UNAVAILABLE
        return None

    def _batch_finished(self, now_ns: int, finished: BatchFinished, out: Commands) -> None:
        self._flow.end_run(finished, now_ns, out)

    def _timer_fired(self, now_ns: int, fired: TimerFired, out: Commands) -> None:
        if fired.stage == DEADLINE_TIMER:
            self._flow.inside.sweep(now_ns, out)
            return
        if fired.batch != NO_BATCH:
            self._flow.check_run(fired.batch, now_ns, out)
            return
        stage = self._flow.stages[fired.stage]
        if now_ns >= stage.timer_ns:  # else a stale one; the right one is still to come
            stage.timer_ns = NEVER_NS
            self._flow.dispatch(stage, now_ns, out)

    def _cancelled(self, now_ns: int, cancelled: Cancelled, out: Commands) -> None:
        event = self._flow.inside.events.get(cancelled.event)
        if event is not None:
            self._flow.inside.end([event], Outcome.CANCELLED, None, now_ns, out)

    def _plan_changed(self, now_ns: int, changed: PlanChanged, out: Commands) -> None:
        stage = self._flow.stages[changed.stage]
        stage.plan = changed.plan
        stage.queue.rows_max = changed.plan.queue_rows_max
        self._flow.dispatch(stage, now_ns, out)
        self._flow.unblock(stage, now_ns, out)

    def _limit_changed(self, now_ns: int, changed: LimitChanged, out: Commands) -> None:
        self._flow.pipelines[changed.pipeline].in_flight_max = changed.in_flight_max

    def _drain_began(self, now_ns: int, began: DrainBegan, out: Commands) -> None:
        self._draining = True
