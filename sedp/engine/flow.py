"""How events move between stages.

A stage with a free slot closes a batch when it is due (see `batcher`), reserves room in the
queues behind it, and starts it. When a queue behind has no room the stage *blocks* and is woken by
whoever makes room, so fullness travels back to the door. A reservation is made only once all
branches of an event into a join have started; hence every reserved row will arrive without
needing room elsewhere, and no DAG can lock up.
"""

from __future__ import annotations

from collections.abc import Sequence

from sedp.engine.admission import Admission
from sedp.engine.batcher import batch_due_ns
from sedp.engine.event import Event, numbers_of
from sedp.engine.events import NEVER_NS, AnyCommand, BatchFinished, FallBack, Outcome, SetTimer
from sedp.engine.graph import Graph
from sedp.engine.inside import Inside
from sedp.engine.runs import Run, Runs
from sedp.engine.stage_state import PipelineState, StageState, link_stages

Commands = list[AnyCommand]


class Flow:
    """The rules by which events go on. Commands are appended to `out`."""

    def __init__(self, graph: Graph, admissions: Sequence[Admission | None]) -> None:
        self.stages = link_stages(graph)
        self.pipelines = [
            PipelineState(node, [self.stages[number] for number in node.stages], admission)
            for node, admission in zip(graph.pipelines, admissions, strict=True)
        ]
        self.inside = Inside(self.pipelines, self.unblock)
        self.runs = Runs()
        self._entered: dict[StageState, None] = {}  # first stages to be dispatched, in order
        self._deadline_ns = NEVER_NS  # the earliest of what has entered

    def enter(self, event: Event, now_ns: int) -> None:
        """Put an admitted event into its pipeline's first queues; `begin` starts the stages."""
        pipeline = self.pipelines[event.pipeline]
        if event.tenant != pipeline.tenant:
            pipeline.note_tenant(event.tenant)
        self.inside.add(event)
        for stage in pipeline.entries:
            event.queued |= stage.bit
            stage.queue.push((event,), event.rows, now_ns)
            self._entered[stage] = None
        if event.deadline_ns < self._deadline_ns:
            self._deadline_ns = event.deadline_ns

    def begin(self, now_ns: int, out: Commands) -> None:
        """Dispatch the first stages of all that has entered, and mind its deadlines."""
        stages, self._entered = self._entered, {}
        for stage in stages:
            self.dispatch(stage, now_ns, out)
        self.inside.mind(self._deadline_ns, out)
        self._deadline_ns = NEVER_NS

    def dispatch(self, stage: StageState, now_ns: int, out: Commands) -> None:
        """Start as many batches as slots, due times and room behind allow."""
        queue, made_room = stage.queue, False
        stage.blocked = False
        while stage.running < stage.plan.concurrency or (
            stage.breaker is not None and stage.breaker.is_open(now_ns)
        ):
            if stage.again:
                self._run_again(stage, now_ns, out)
                continue
            if not queue.rows:
                break
            plan, floor_ns = stage.plan, stage.path_floor_ns
            if plan.batch_wait_ns:
                due_ns = batch_due_ns(queue, plan, floor_ns)
                if due_ns > now_ns:
                    self._wake_at(stage, due_ns, out)
                    break
            oldest_ns, head = queue.head()
            viable_ns = now_ns + floor_ns
            limit_rows = max(plan.batch_rows_max, head.rows)
            if stage.successors:
                limit_rows = min(limit_rows, stage.room_behind(head.rows))
                if limit_rows < head.rows:
                    stage.blocked = True
                    break
            stale_ns = 0
            if stage.admission is not None and not stage.predecessors:
                limit_ns = stage.admission.wait_limit_ns(now_ns, now_ns - oldest_ns)
                stale_ns = max(0, now_ns - limit_ns)
            if head.deadline_ns < viable_ns or head.arrived_ns < stale_ns:
                limit_rows = 0  # an event that will be given up must not set the limit for others
            taken, rows, hopeless = queue.take(limit_rows, viable_ns, now_ns, stale_ns)
            made_room = True
            if hopeless:
                self._give_up(hopeless, stage, viable_ns, now_ns, out)
            if taken:
                if stage.admission is not None:
                    stage.admission.waited(now_ns, now_ns - oldest_ns, len(taken))
                self._reserve(stage, taken, rows)
                self._start(stage, taken, rows, now_ns, out)
        if made_room and stage.predecessors:
            self.unblock(stage, now_ns, out)

    def _wake_at(self, stage: StageState, due_ns: int, out: Commands) -> None:
        if due_ns < stage.timer_ns:
            stage.timer_ns = due_ns
            out.append(SetTimer(stage.number, due_ns))

    def _give_up(
        self,
        hopeless: list[Event],
        stage: StageState,
        viable_ns: int,
        now_ns: int,
        out: Commands,
    ) -> None:
        """End events that cannot be in time any more, or that admission control drops."""
        late: list[Event] = []
        stale: list[Event] = []
        for event in hopeless:
            event.queued &= ~stage.bit
            (late if event.deadline_ns < viable_ns else stale).append(event)
            if now_ns < event.deadline_ns < viable_ns:  # by estimate, not by the clock
                stage.floor.doubt()
        stage.refresh_path_floor()
        self.inside.end(late, Outcome.DEADLINE, stage, now_ns, out)
        self.inside.end(stale, Outcome.SHED, stage, now_ns, out)

    def _reserve(self, stage: StageState, events: list[Event], rows: int) -> None:
        """Claim room behind for events whose last branch into a stage starts now."""
        for event in events:
            event.queued &= ~stage.bit
            event.running += 1
        for successor in stage.successors:
            if successor.branches == 1:
                successor.queue.reserved_rows += rows
                continue
            for event in events:
                join = event.join_at(successor.number, successor.branches)
                join.unstarted -= 1
                if join.unstarted == 0:
                    successor.queue.reserved_rows += event.rows

    def _start(
        self, stage: StageState, events: list[Event], rows: int, now_ns: int, out: Commands
    ) -> None:
        """Run the stage, or let its fallback stand in for it."""
        pressure = stage.pressure(now_ns) if stage.node.asks_pressure else 0
        if pressure and 0 < stage.care.skip_above <= pressure:
            stage.skips += len(events)
        elif stage.breaker is None or not stage.breaker.is_open(now_ns):
            self.runs.start(stage, events, rows, pressure, now_ns, out)
            return
        self._stand_in(stage, events, rows, now_ns, out)

    def _stand_in(
        self,
        stage: StageState,
        events: list[Event],
        rows: int,
        now_ns: int,
        out: Commands,
        *,
        failed: bool = False,
    ) -> None:
        """Move events on without a result of the stage, or end them if nothing can replace it."""
        live = [event for event in events if not event.ended]
        if not stage.care.has_fallback:
            self.inside.end(live, Outcome.UNAVAILABLE, stage, now_ns, out)
        elif live:
            stage.fallbacks += len(live)
            out.append(FallBack(stage.number, numbers_of(live), failed))
        self.leave(stage, events, rows, now_ns, out)

    def _run_again(self, stage: StageState, now_ns: int, out: Commands) -> None:
        """Run the next event of a failed batch alone; its room behind is still reserved."""
        event = stage.again.popleft()
        if event.ended:
            self.leave(stage, [event], event.rows, now_ns, out)
        else:
            self._start(stage, [event], event.rows, now_ns, out)

    def end_run(self, finished: BatchFinished, now_ns: int, out: Commands) -> None:
        """A run came back: move its events on, try them one by one, or let others go on."""
        run, failed = self.runs.end(finished, now_ns), finished.failed
        stage, events = run.stage, run.events
        if run.has_lost or (failed and self.runs.part(run) is not None):
            self._release(events)  # the twin carries them
        elif not failed or not run.is_wanted:
            if run.twin is not None:
                self.runs.part(run, out)
            self.leave(stage, events, run.rows if events else 0, now_ns, out)
        elif len(events) > 1:
            stage.again.extend(events)
        elif stage.care.has_fallback:
            self._stand_in(stage, events, run.rows, now_ns, out, failed=True)
        else:
            self.inside.end(events, Outcome.FAILED, stage, now_ns, out)
            self.leave(stage, events, run.rows, now_ns, out)
        self.dispatch(stage, now_ns, out)

    def check_run(self, batch: int, now_ns: int, out: Commands) -> None:
        """A run's timer fired: it may have taken too long, or long enough to start its twin."""
        run = self.runs.under_way.get(batch)
        if run is None or not run.is_wanted:
            return
        stage, taken_ns = run.stage, now_ns - run.started_ns
        if stage.care.timeout_ns and taken_ns >= stage.care.timeout_ns:
            self._time_out(run, now_ns, out)
        elif run.twin is None and _may_hedge(run, now_ns):
            self.runs.hedge(run, stage.pressure(now_ns), now_ns, out)

    def _time_out(self, run: Run, now_ns: int, out: Commands) -> None:
        stage = run.stage
        twin = self.runs.part(run)
        self.runs.give_up(run, now_ns, out)
        if twin is not None:
            run.has_lost = True
        elif stage.care.has_fallback:
            events, run.events = run.events, []  # they go on; the run holds nothing any more
            self._stand_in(stage, events, run.rows, now_ns, out, failed=True)
        else:
            live = [event for event in run.events if not event.ended]
            self.inside.end(live, Outcome.DEADLINE, stage, now_ns, out, timed_out=True)
        self.dispatch(stage, now_ns, out)

    def _release(self, events: list[Event]) -> None:
        """A run that nobody waits for holds `events` no longer."""
        for event in events:
            event.running -= 1
            if event.ended:
                self.inside.forget_if_idle(event)

    def leave(
        self, stage: StageState, events: list[Event], rows: int, now_ns: int, out: Commands
    ) -> None:
        """Move events on from a stage that is done with them, to the next queues or the door."""
        answered: list[Event] = []
        some_ended = False
        for event in events:
            event.running -= 1
            event.stages_left -= 1
            if event.ended:
                some_ended = True
                self.inside.forget_if_idle(event)
            elif event.stages_left == 0:
                answered.append(event)
        live = [event for event in events if not event.ended] if some_ended else events
        if answered:
            self.inside.answer(answered, stage.pipeline, now_ns, out)
        # First hand on to all, then let them start: a start may end events of this very batch.
        for successor in stage.successors:
            self._hand_on(successor, events, rows, live, now_ns)
        for successor in stage.successors:
            self.dispatch(successor, now_ns, out)
            if some_ended:  # their reservations are free again
                self.unblock(successor, now_ns, out)

    def _hand_on(
        self,
        stage: StageState,
        events: list[Event],
        rows: int,
        live: list[Event],
        now_ns: int,
    ) -> None:
        """Turn the reservations of `events` into entries, for those that still live."""
        ready, ready_rows = events, rows
        if stage.branches > 1:
            ready = stage.joined(events)
            ready_rows = sum(event.rows for event in ready)
        stage.queue.reserved_rows -= ready_rows
        if live is not events:
            ready = [event for event in ready if not event.ended]
            ready_rows = sum(event.rows for event in ready)
        for event in ready:
            event.queued |= stage.bit
        stage.queue.push(ready, ready_rows, now_ns)

    def unblock(self, stage: StageState, now_ns: int, out: Commands) -> None:
        """`stage` has more room: wake those before it that wait for some."""
        for predecessor in stage.predecessors:
            if predecessor.blocked:
                self.dispatch(predecessor, now_ns, out)


def _may_hedge(run: Run, now_ns: int) -> bool:
    """Whether a second run of the same events can start; each of them must still be wanted."""
    stage = run.stage
    if stage.running >= stage.plan.concurrency or stage.is_shut(now_ns):
        return False
    return not any(event.ended for event in run.events)
