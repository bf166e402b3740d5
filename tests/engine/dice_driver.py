"""A driver that lets dice decide what happens next: the scheduler's worst possible world.

Runs end in any order, timers fire late, callers leave, deadlines pass. Its own bookkeeping checks
the driver's side of the contract: no event ends twice, no ended event is started.
"""

from __future__ import annotations

import random

from sedp.columns import Array, Batch
from sedp.engine.events import (
    NEVER_NS,
    Abandon,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    FallBack,
    Finish,
    Outcome,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.scheduler import Scheduler
from sedp.operator import Operator
from sedp.payload import IDLE, Payload, answer
from sedp.pipeline import Pipeline, compile_graph
from tests.engine.random_dag import ROWS_PER_EVENT_MAX


class DiceDriver:
    """Runs one pipeline on a made-up clock; `ends` and `answers` are what callers saw."""

    def __init__(self, pipeline: Pipeline, dice: random.Random) -> None:
        self.pipeline, self.dice = pipeline, dice
        self.scheduler = Scheduler(compile_graph([pipeline]))
        self.operators = [Operator(s, position) for position, s in enumerate(pipeline.stages)]
        self.now_ns = 0
        self.payloads: dict[int, Payload] = {}
        self.running: list[tuple[RunBatch, list[Payload]]] = []
        self.timers: list[SetTimer] = []
        self.abandoned: set[int] = set()
        self.ends: dict[int, Outcome] = {}
        self.answers: dict[int, dict[str, Array]] = {}

    def arrive(
        self, event: int, request: Batch, deadline_ns: int = NEVER_NS, tenant: int = 0
    ) -> None:
        self.payloads[event] = Payload(request, len(self.pipeline.stages))
        self.feed(Arrived(event, 0, request.row_count, deadline_ns, tenant=tenant))

    def cancel(self, event: int) -> None:
        self.feed(Cancelled(event))

    def step(self) -> bool:
        """Let one thing happen; False when nothing is left to happen."""
        self.now_ns += self.dice.choice([0, 1, 7, 30])
        due = [timer for timer in self.timers if timer.due_ns <= self.now_ns]
        if self.running and (not due or self.dice.random() < 0.7):
            self._end_a_run()
        elif due:
            timer = self.dice.choice(due)
            self.timers.remove(timer)
            self.feed(TimerFired(timer.stage, timer.batch))
        elif self.timers:
            self.now_ns = max(self.now_ns, min(timer.due_ns for timer in self.timers))
        else:
            return False
        return True

    def feed(self, stimulus: AnyStimulus) -> None:
        for command in self.scheduler.handle(self.now_ns, stimulus):
            match command:
                case RunBatch():
                    assert not self.ends.keys() & set(command.events), "an ended event was started"
                    self.running.append((command, [self.payloads[e] for e in command.events]))
                case SetTimer():
                    self.timers.append(command)
                case Finish():
                    self._end(command)
                case FallBack():
                    assert not self.ends.keys() & set(command.events), "an ended event falls back"
                    self.operators[command.stage].stand_in(
                        [self.payloads[event] for event in command.events]
                    )
                case Abandon():
                    self.abandoned.add(command.batch)
        self._check_queues()

    def _check_queues(self) -> None:
        for stage in self.scheduler._flow.stages:
            queue = stage.queue
            live = [event for _, event in queue]
            assert queue.rows == sum(event.rows for event in live)
            assert len(queue) == len(live)
            assert queue.reserved_rows >= 0
            # An empty queue takes any one event; else the bound holds.
            bound = max(queue.rows_max, ROWS_PER_EVENT_MAX)
            assert queue.rows + queue.reserved_rows <= bound, stage.node.name
            assert stage.running <= stage.plan.concurrency

    def _end_a_run(self) -> None:
        run, payloads = self.running.pop(self.dice.randrange(len(self.running)))
        failed = False
        operator = self.operators[run.stage]
        try:
            result = operator.compute(payloads, IDLE)
        except ValueError:
            failed = True
        else:
            if run.batch not in self.abandoned:
                operator.hand_out(result, payloads)
        self.feed(BatchFinished(run.batch, failed))

    def _end(self, finish: Finish) -> None:
        for event in finish.events:
            assert event not in self.ends, f"event {event} ended twice"
            self.ends[event] = finish.outcome
            if finish.outcome is Outcome.ANSWERED:
                self.answers[event] = answer(self.pipeline, self.payloads[event])
