"""The invariant checker sees what it is there to see: each fault here is planted on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sedp.engine.events import (
    Abandon,
    AnyCommand,
    AnyStimulus,
    Arrived,
    BatchFinished,
    FallBack,
    Finish,
    Outcome,
    RunBatch,
)
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.invariants import InvariantChecker
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from tests.simulator.plain_graph import chain

Plant = Callable[[Scheduler], None]


def lose_a_row(scheduler: Scheduler) -> None:
    scheduler._flow.stages[0].queue.rows -= 1


def forget_a_reservation(scheduler: Scheduler) -> None:
    scheduler._flow.stages[1].queue.reserved_rows -= 100


def sleep_over_work(scheduler: Scheduler) -> None:
    scheduler._flow.stages[0].running = 0


def count_wrongly(scheduler: Scheduler) -> None:
    scheduler._flow.pipelines[0].in_flight += 1


def overfill(scheduler: Scheduler) -> None:
    scheduler._flow.stages[1].queue.reserved_rows += 100


def overfill_beside_others(scheduler: Scheduler) -> None:
    scheduler._flow.stages[0].queue.reserved_rows += 100


def drop_an_event(scheduler: Scheduler) -> None:
    scheduler._flow.inside.events.popitem()


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lose_a_row, "counts .* rows, but holds"),
        (forget_a_reservation, "rows reserved"),
        (sleep_over_work, "sleeps over"),
        (count_wrongly, "in flight, but holds"),
        (overfill, "are no single event"),
        (overfill_beside_others, "grew to 112 rows"),
        (drop_an_event, "by our books"),
    ],
)
def test_planted_fault_is_found(plant: Plant, words: str) -> None:
    scheduler = Scheduler(chain(2, StagePlan(queue_rows_max=20)))
    checker = InvariantChecker(scheduler)

    def check(now_ns: int, stimulus: AnyStimulus, commands: list[AnyCommand]) -> None:
        if now_ns == 3:
            plant(scheduler)
        checker.check(now_ns, stimulus, commands)

    service = LinearService((StageCost(100),) * 2)
    simulator = Simulator(scheduler, service, np.random.default_rng(0), watch=check)
    with pytest.raises(AssertionError, match=words):
        simulator.run([Arrival(time_ns, 0, 4) for time_ns in (0, 1, 2, 3)])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Finish((0,), Outcome.ANSWERED), "ends again"),
        (RunBatch(7, 0, (0,)), "which have ended"),
        (RunBatch(7, 0, ()), "is empty"),
        (RunBatch(7, 0, (1, 2)), "at most 5"),
        (FallBack(0, (0,)), "which have ended"),
        (FallBack(0, ()), "for nobody"),
        (Abandon(7), "not under way"),
    ],
)
def test_impossible_command_is_found(command: AnyCommand, words: str) -> None:
    scheduler = Scheduler(chain(1, StagePlan(batch_rows_max=5)))
    checker = InvariantChecker(scheduler)
    stimuli: list[AnyStimulus] = [
        Arrived(0, 0, 3),
        BatchFinished(0),
        Arrived(1, 0, 3),
        Arrived(2, 0, 3),
    ]
    for now_ns, stimulus in enumerate(stimuli):
        checker.check(now_ns, stimulus, scheduler.handle(now_ns, stimulus))
    with pytest.raises(AssertionError, match=words):
        checker.check(4, BatchFinished(1), [command])


def test_falling_time_is_found() -> None:
    scheduler = Scheduler(chain(1))
    checker = InvariantChecker(scheduler)
    checker.check(5, Arrived(0, 0, 1), scheduler.handle(5, Arrived(0, 0, 1)))
    with pytest.raises(AssertionError, match="time fell"):
        checker.check(4, BatchFinished(0), [])


def test_end_is_not_accepted_while_something_is_inside() -> None:
    scheduler = Scheduler(chain(1))
    checker = InvariantChecker(scheduler)
    checker.check(0, Arrived(0, 0, 1), scheduler.handle(0, Arrived(0, 0, 1)))
    with pytest.raises(AssertionError, match="never ended"):
        checker.check_end()
