"""How events move between stages, and how they end.

A stage with a free slot closes a batch when it is due (see `batcher`), reserves room in the
queues behind it, and starts it. When a queue behind has no room the stage *blocks* and is woken by
whoever makes room, so fullness travels back to the door. A reservation is made only once all
branches of an event into a join have started; hence every reserved row will arrive without
needing room elsewhere, and no DAG can lock up.
"""

from __future__ import annotations

from collections.abc import Iterable

from sedp.engine.batcher import batch_due_ns
from sedp.engine.event import Event
from sedp.engine.events import (
    DEADLINE_TIMER,
    NEVER_NS,
    AnyCommand,
    Finish,
    Outcome,
    RunBatch,
    SetTimer,
)
from sedp.engine.graph import Graph
from sedp.engine.stage_state import PipelineState, Run, StageState

SWEEP_GAP_NS = 5_000_000  # least time between two deadline sweeps: bounds their cost, not a caller

Commands = list[AnyCommand]


class Flow:
    """All events inside, and the rules by which they go on. Commands are appended to `out`.

    Invariant: an event is in `events` from admission until it has ended and no run holds it.
    """

    def __init__(self, graph: Graph) -> None:
        self.stages = _link_stages(graph)
        self.pipelines = [
            PipelineState(node, [self.stages[number] for number in node.stages])
            for node in graph.pipelines
        ]
        self.events: dict[int, Event] = {}
        self.runs: dict[int, Run] = {}
        self._next_batch = 0
        self._sweep_ns = NEVER_NS
        self._entered: dict[StageState, None] = {}  # first stages to be dispatched, in order
        self._deadline_ns = NEVER_NS  # the earliest of what has entered

    def enter(self, event: Event, now_ns: int) -> None:
        """Put an admitted event into its pipeline's first queues; `begin` starts the stages."""
        pipeline = self.pipelines[event.pipeline]
        self.events[event.id] = event
        pipeline.in_flight += 1
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
        if self._deadline_ns < self._sweep_ns:
            self._sweep_ns = self._deadline_ns
            out.append(SetTimer(DEADLINE_TIMER, self._sweep_ns))
        self._deadline_ns = NEVER_NS

    def dispatch(self, stage: StageState, now_ns: int, out: Commands) -> None:
        """Start as many batches as slots, due times and room behind allow."""
        queue, made_room = stage.queue, False
        stage.blocked = False
        while stage.running < stage.plan.concurrency:
            if stage.again:
                self._run_again(stage, now_ns, out)
                continue
            if not queue.rows:
                break
            floor_ns = stage.path_floor_ns
            due_ns = batch_due_ns(queue, stage.plan, floor_ns)
            if due_ns > now_ns:
                self._wake_at(stage, due_ns, out)
                break
            head, viable_ns = queue.head()[1], now_ns + floor_ns
            room = _room_behind(stage, head.rows)
            if room < head.rows:
                stage.blocked = True
                break
            limit_rows = min(max(stage.plan.batch_rows_max, head.rows), room)
            if head.deadline_ns < viable_ns:
                limit_rows = 0  # an event that will be given up must not set the limit for others
            taken, rows, hopeless = queue.take(limit_rows, viable_ns, now_ns)
            made_room = True
            if hopeless:
                self._give_up(hopeless, stage, now_ns, out)
            if taken:
                self._reserve(stage, taken, rows)
                self._start(stage, taken, rows, now_ns, out)
        if made_room:
            self.unblock(stage, now_ns, out)

    def _wake_at(self, stage: StageState, due_ns: int, out: Commands) -> None:
        if due_ns < stage.timer_ns:
            stage.timer_ns = due_ns
            out.append(SetTimer(stage.number, due_ns))

    def _give_up(
        self, hopeless: list[Event], stage: StageState, now_ns: int, out: Commands
    ) -> None:
        for event in hopeless:
            event.queued &= ~stage.bit
            if event.deadline_ns > now_ns:  # condemned by estimate, not by the clock
                stage.floor.doubt()
        stage.refresh_path_floor()
        self.end(hopeless, Outcome.DEADLINE, stage, now_ns, out)

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
        batch = self._next_batch
        self._next_batch += 1
        self.runs[batch] = Run(stage, events, rows, now_ns)
        stage.running += 1
        stage.batches += 1
        stage.events += len(events)
        stage.rows += rows
        stage.batch_rows.record(rows)
        out.append(RunBatch(batch, stage.number, tuple([event.id for event in events])))

    def _run_again(self, stage: StageState, now_ns: int, out: Commands) -> None:
        """Run the next event of a failed batch alone; its room behind is still reserved."""
        event = stage.again.popleft()
        if event.ended:
            self.leave(stage, [event], event.rows, now_ns, out)
        else:
            self._start(stage, [event], event.rows, now_ns, out)

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
                self._forget_if_idle(event)
            elif event.stages_left == 0:
                answered.append(event)
        live = [event for event in events if not event.ended] if some_ended else events
        if answered:
            self.end(answered, Outcome.ANSWERED, None, now_ns, out)
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
            ready = _joined(stage, events)
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

    def sweep(self, now_ns: int, out: Commands) -> None:
        """End every event whose deadline has passed, wherever it is."""
        if now_ns < self._sweep_ns:
            return  # a stale timer
        live = [event for event in self.events.values() if not event.ended]
        late = [event for event in live if event.deadline_ns <= now_ns]
        next_ns = min((e.deadline_ns for e in live if e.deadline_ns > now_ns), default=NEVER_NS)
        self._sweep_ns = max(next_ns, now_ns + SWEEP_GAP_NS) if next_ns < NEVER_NS else NEVER_NS
        if self._sweep_ns < NEVER_NS:
            out.append(SetTimer(DEADLINE_TIMER, self._sweep_ns))
        if late:
            self.end(late, Outcome.DEADLINE, None, now_ns, out)

    def end(
        self,
        events: list[Event],
        outcome: Outcome,
        stage: StageState | None,
        now_ns: int,
        out: Commands,
    ) -> None:
        """Tell the callers, and take the events out of every queue."""
        live = [event for event in events if not event.ended]
        if live:
            number = -1 if stage is None else stage.number
            out.append(Finish(tuple([event.id for event in live]), outcome, number))
        for event in live:
            event.ended = True
            pipeline = self.pipelines[event.pipeline]
            pipeline.outcomes[outcome] += 1
            if outcome is Outcome.ANSWERED:
                pipeline.latency_ns.record(now_ns - event.arrived_ns)
            self._forget_if_idle(event)
        if outcome is not Outcome.ANSWERED:  # an answered event waits nowhere
            self._withdraw(live, now_ns, out)

    def _withdraw(self, events: list[Event], now_ns: int, out: Commands) -> None:
        """Take ended events out of the queues they wait in, and wake who waits for the room."""
        roomier: list[StageState] = []
        for event in events:
            for stage in self.pipelines[event.pipeline].stages:
                if event.queued & stage.bit:
                    stage.queue.discard(event)
                    roomier.append(stage)
            event.queued = 0
        # Only now wake others: they must not meet an ended event that still counts rows.
        for stage in roomier:
            self.unblock(stage, now_ns, out)

    def _forget_if_idle(self, event: Event) -> None:
        if event.running == 0:
            del self.events[event.id]
            self.pipelines[event.pipeline].in_flight -= 1


def _room_behind(stage: StageState, head_rows: int) -> int:
    """Rows that every queue behind `stage` can take."""
    room = NEVER_NS
    for successor in stage.successors:
        room = min(room, successor.queue.room_rows(head_rows))
    return room


def _joined(stage: StageState, events: Iterable[Event]) -> list[Event]:
    """Those of `events` whose last branch into `stage` just ended."""
    ready = []
    for event in events:
        join = event.join_at(stage.number, stage.branches)
        join.unfinished -= 1
        if join.unfinished == 0:
            ready.append(event)
    return ready


def _link_stages(graph: Graph) -> list[StageState]:
    stages = [
        StageState(number, node, 1 << graph.pipelines[node.pipeline].stages.index(number))
        for number, node in enumerate(graph.stages)
    ]
    for stage in stages:
        stage.predecessors = [stages[number] for number in stage.node.predecessors]
        stage.successors = [stages[number] for number in stage.node.successors]
    return stages
