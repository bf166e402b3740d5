"""Callers who ask again: how often, when, and that it ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.events import NEVER_NS, Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.callers import ASK_AGAIN, Retriers, RetryHabit
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from tests.simulator.plain_graph import chain

MS = 1_000_000


def simulate(
    arrivals: list[Arrival], habit: RetryHabit, *, work_ns: int = MS, seed: int = 1
) -> tuple[SimulatedRun, Retriers]:
    callers = Retriers(habit, np.random.default_rng(seed))
    graph = chain(1, StagePlan(batch_rows_max=1), in_flight_max=1)
    service = LinearService((StageCost(work_ns),))
    dice = np.random.default_rng(0)
    return Simulator(Scheduler(graph), service, dice, callers=callers).run(arrivals), callers


def test_refused_caller_asks_again_after_a_pause_until_answered() -> None:
    arrivals = [Arrival(0, 0, 1), Arrival(10, 0, 1, deadline_ns=5 * MS)]
    run, callers = simulate(arrivals, RetryHabit(400_000, gives_up_ns=NEVER_NS))
    assert run.arrived_ns.tolist() == [0, 10, 400_010, 800_010, 1_200_010]
    assert run.outcomes.tolist() == [
        Outcome.ANSWERED,
        *[Outcome.QUEUE_FULL] * 3,
        Outcome.ANSWERED,
    ]
    assert (callers.count().answered, callers.count().lost, callers.count().retries) == (2, 0, 3)


def test_late_caller_leaves_and_asks_again_with_as_much_patience() -> None:
    arrivals = [Arrival(0, 0, 1, leaves_ns=100)]
    run, callers = simulate(arrivals, RetryHabit(50, gives_up_ns=10_000, tries_max=3))
    # A run that nobody waits for still holds its place, so the next tries are refused.
    assert run.outcomes.tolist() == [Outcome.CANCELLED, *[Outcome.QUEUE_FULL] * 2]
    assert run.arrived_ns.tolist() == [0, 150, 200]
    assert callers.count().lost == 1


def test_caller_gives_up_after_its_time() -> None:
    run, callers = simulate([Arrival(0, 0, 1)] * 2, RetryHabit(100, gives_up_ns=1000))
    assert run.arrived_ns[-1] == 1000
    assert callers.count().retries == 10
    assert callers.count().lost == 1


def test_patient_callers_come_back_at_different_times_and_not_before_they_were_told() -> None:
    habit = RetryHabit(MS, gives_up_ns=100 * MS, jitter=0.5, tries_max=2)
    run, _ = simulate([Arrival(0, 0, 1)] * 20, habit)
    again_ns = run.arrived_ns[20:]
    assert len(set(again_ns.tolist())) == 19
    assert again_ns.min() >= MS
    assert again_ns.max() < 1.5 * MS


@given(
    times_ns=st.lists(st.integers(0, 20 * MS), min_size=1, max_size=40).map(sorted),
    pause_ns=st.integers(1000, 3 * MS),
    tries_max=st.integers(1, 5),
    patience_ns=st.integers(1, 3 * MS),
    seed=st.integers(0, 99),
)
def test_tries_are_bounded_and_every_call_ends_once(
    times_ns: list[int], pause_ns: int, tries_max: int, patience_ns: int, seed: int
) -> None:
    arrivals = [Arrival(time_ns, 0, 1, leaves_ns=time_ns + patience_ns) for time_ns in times_ns]
    habit = RetryHabit(pause_ns, gives_up_ns=30 * MS, jitter=1.0, tries_max=tries_max)
    run, callers = simulate(arrivals, habit, seed=seed)
    count = callers.count()
    assert count.answered + count.lost == len(arrivals)
    assert len(run.outcomes) == len(arrivals) + count.retries
    assert count.retries <= len(arrivals) * (tries_max - 1)
    assert count.answered == run.count(Outcome.ANSWERED)
    again, _ = simulate(arrivals, habit, seed=seed)
    assert again.digest == run.digest


@pytest.mark.parametrize("outcome", set(Outcome) - ASK_AGAIN)
def test_who_was_answered_or_has_failed_does_not_ask_again(outcome: Outcome) -> None:
    callers = Retriers(RetryHabit(1, gives_up_ns=100), np.random.default_rng(0))
    callers.asked(0, Arrival(0, 0, 1))
    assert callers.ended(10, 0, outcome) is None


def test_retry_keeps_what_is_asked_and_who_asks() -> None:
    arrival = Arrival(100, 1, 7, None, 300, NEVER_NS, 250, 2, 99, 3)
    again = arrival.again_at(1000).again_at(1500)
    assert (again.pipeline, again.rows, again.level, again.user, again.tenant) == (1, 7, 2, 99, 3)
    assert (again.deadline_ns, again.leaves_ns, again.due_ns) == (1700, NEVER_NS, 1650)
    assert (again.retries, again.began_ns) == (2, 100)
