"""What must hold after every step of the scheduler, whatever happened; for tests and hunts.

Hang `InvariantChecker(scheduler).check` on the simulator's `watch`. It keeps its own books from
stimuli and commands alone and compares them with the scheduler's. The only place outside the
engine that looks into the scheduler; costs a walk over all that is in flight at each step.
"""

from __future__ import annotations

from collections import Counter

from sedp.engine.event import Event
from sedp.engine.events import (
    NEVER_NS,
    Abandon,
    AnyCommand,
    AnyStimulus,
    Arrived,
    FallBack,
    Finish,
    RunBatch,
    SetTimer,
)
from sedp.engine.scheduler import Scheduler
from sedp.engine.stage_state import StageState


class InvariantChecker:
    """Follows one scheduler from its first stimulus on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._flow = scheduler._flow
        self._now_ns = 0
        self._rows: dict[int, int] = {}  # rows of each event that has arrived and not ended
        self._committed = [0] * len(self._flow.stages)

    def check(self, now_ns: int, stimulus: AnyStimulus, commands: list[AnyCommand]) -> None:
        """Look at one step.

        Raises:
            AssertionError: what does not hold, and where.
        """
        assert now_ns >= self._now_ns, f"time fell from {self._now_ns} to {now_ns} ns"
        self._now_ns = now_ns
        if isinstance(stimulus, Arrived):
            assert stimulus.event not in self._rows, f"event {stimulus.event} arrived twice"
            self._rows[stimulus.event] = stimulus.rows
        for command in commands:
            self._follow(command)
        self._check_events()
        for stage in self._flow.stages:
            self._check_queue(stage)
            self._check_awake(stage)

    def check_end(self) -> None:
        """Nothing may be left once everybody has ended and every run has come back.

        Raises:
            AssertionError: what is left, and where.
        """
        assert not self._rows, f"events {sorted(self._rows)} never ended"
        inside, runs = self._flow.inside.events, self._flow.runs.under_way
        assert not inside, f"ended events {sorted(inside)} are still held"
        assert not runs, f"runs {sorted(runs)} never ended"
        for stage in self._flow.stages:
            left = stage.queue.rows, stage.queue.reserved_rows, stage.running, len(stage.again)
            assert left == (0, 0, 0, 0), f"stage {stage.node.name!r} keeps {left}"

    def _follow(self, command: AnyCommand) -> None:
        match command:
            case RunBatch(batch, number, events):
                stage = self._flow.stages[number]
                assert events, f"batch {batch} is empty"
                dead = [event for event in events if event not in self._rows]
                assert not dead, f"batch {batch} starts with events {dead}, which have ended"
                rows = sum(self._rows[event] for event in events)
                assert rows <= stage.plan.batch_rows_max or len(events) == 1, (
                    f"batch {batch} has {rows} rows; at most {stage.plan.batch_rows_max}"
                )
                assert stage.running <= stage.plan.concurrency, (
                    f"stage {stage.node.name!r} runs {stage.running} times at once; "
                    f"at most {stage.plan.concurrency}"
                )
            case Finish(events, outcome):
                for event in events:
                    assert event in self._rows, f"event {event} ends again, as {outcome.name}"
                    del self._rows[event]
            case FallBack(number, events):
                dead = [event for event in events if event not in self._rows]
                assert events, f"stage {number} falls back for nobody"
                assert not dead, f"stage {number} falls back for events {dead}, which have ended"
            case Abandon(batch):
                under_way = self._flow.runs.under_way
                assert batch in under_way, f"batch {batch} is given up, but is not under way"
            case SetTimer(number, due_ns):
                assert due_ns < NEVER_NS, f"stage {number} sets a timer for never"

    def _check_events(self) -> None:
        """Arrived = ended + in flight, and the scheduler agrees event by event."""
        inside = self._flow.inside.events
        live = {number for number, event in inside.items() if not event.ended}
        assert live == self._rows.keys(), f"in flight are {live}, by our books {set(self._rows)}"
        held = Counter(event.pipeline for event in inside.values())
        for number, pipeline in enumerate(self._flow.pipelines):
            assert pipeline.in_flight == held[number], (
                f"pipeline {pipeline.node.name!r} counts {pipeline.in_flight} in flight, "
                f"but holds {held[number]}"
            )
        under_way = self._flow.runs.under_way.values()
        runs = Counter(event.id for run in under_way for event in run.events)
        runs.update(event.id for stage in self._flow.stages for event in stage.again)
        for event in inside.values():
            assert event.running == runs[event.id], (
                f"event {event.id} counts {event.running} runs, but {runs[event.id]} hold it"
            )
            assert event.running or not event.ended, f"event {event.id} ended and nothing holds it"

    def _check_queue(self, stage: StageState) -> None:
        queue, name = stage.queue, stage.node.name
        waiting = [event for _, event in queue]
        rows = sum(event.rows for event in waiting)
        assert queue.rows == rows, f"queue {name!r} counts {queue.rows} rows, but holds {rows}"
        assert len(queue) == len(waiting), f"queue {name!r} counts its ended events wrongly"
        marked = {e.id for e in self._flow.inside.events.values() if _is_marked(e, stage)}
        assert marked == {event.id for event in waiting}, f"queue {name!r} and its marks disagree"
        assert queue.reserved_rows >= 0, f"queue {name!r}: {queue.reserved_rows} rows reserved"
        tightest_ns = min((event.deadline_ns for event in waiting), default=NEVER_NS)
        assert queue.tightest_ns <= tightest_ns, f"queue {name!r} overlooks a deadline"
        committed = rows + queue.reserved_rows
        if committed > queue.rows_max and committed > self._committed[stage.number]:
            # Only one event, larger than the whole queue, may have come into the empty queue.
            alone = len(waiting) + (queue.reserved_rows > 0) == 1
            sizes = {event.rows for event in self._flow.inside.events.values()}
            assert alone, f"queue {name!r} grew to {committed} rows; at most {queue.rows_max}"
            assert committed in sizes, f"queue {name!r}: {committed} rows are no single event"
        self._committed[stage.number] = committed

    def _check_awake(self, stage: StageState) -> None:
        """A stage with work and a free slot either waits for a timer or for room behind."""
        if stage.running >= stage.plan.concurrency:
            return
        name = stage.node.name
        assert not stage.again, f"stage {name!r} sleeps over events that must run again"
        if not stage.queue.rows:
            return
        if stage.blocked:
            behind = [s.queue.rows + s.queue.reserved_rows for s in stage.successors]
            assert any(behind), f"stage {name!r} waits for room, but the queues behind are empty"
        else:
            assert stage.timer_ns < NEVER_NS, f"stage {name!r} sleeps over {stage.queue.rows} rows"


def _is_marked(event: Event, stage: StageState) -> bool:
    """Whether the event believes it waits at `stage`; bits count within a pipeline."""
    return event.pipeline == stage.node.pipeline and event.queued & stage.bit != 0
