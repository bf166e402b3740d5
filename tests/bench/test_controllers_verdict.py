"""What a controller is judged by, on runs made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.controllers_plant import REFUSAL, TARGET_NS, make_graph
from bench.controllers_traces import Trace
from bench.controllers_verdict import Verdict, bound, judge
from sedp.engine.events import Outcome
from sedp.engine.scheduler import Scheduler
from sedp.simulator.callers import RetryHabit
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.shapes import SECOND_NS

MS = 1_000_000
HIGH_NS = (SECOND_NS, 4 * SECOND_NS)
TRACE = Trace("by hand", np.zeros(0, np.int64), HIGH_NS)


def made_run(arrived_ns: NDArray[np.int64], answered: NDArray[np.bool_]) -> SimulatedRun:
    """Half a target for whoever is answered; the top level is every tenth."""
    count = len(arrived_ns)
    return SimulatedRun(
        outcomes=np.where(answered, Outcome.ANSWERED, Outcome.SHED).astype(np.uint8),
        arrived_ns=arrived_ns,
        latency_ns=np.where(answered, TARGET_NS // 2, 0),
        rows=np.ones(count, np.int32),
        levels=np.where(np.arange(count) % 10 == 0, 1, 2).astype(np.uint8),
        spent_ns=np.where(answered, 3, 1),
        end_ns=int(arrived_ns[-1]),
        stimuli=0,
        digest="",
        statistics=Scheduler(make_graph()).statistics(),
    )


def verdict(run: SimulatedRun, trace: Trace = TRACE, capacity: float = 1000) -> Verdict:
    return judge(run, trace, 800, capacity, 5.0)


def test_of_twice_the_capacity_half_is_possible_but_for_the_refusals() -> None:
    arrived_ns = np.arange(0, 5 * SECOND_NS, MS // 2)
    found = verdict(made_run(arrived_ns, np.arange(len(arrived_ns)) % 4 == 0))
    assert found.of_peak == pytest.approx(500 / 800)
    assert found.of_possible == pytest.approx(0.5 / bound(2), rel=0.01)
    assert bound(2) == (1 - 2 * REFUSAL) / (1 - REFUSAL)
    assert found.p99 == found.p99_later == 0.5
    assert found.top == pytest.approx(0.5, rel=0.01)  # of the top every second
    assert found.wasted == pytest.approx(3 / (3 + 3))


def test_below_the_capacity_everything_is_possible() -> None:
    arrived_ns = np.arange(0, 5 * SECOND_NS, 2 * MS)
    found = verdict(made_run(arrived_ns, np.ones(len(arrived_ns), np.bool_)))
    assert found.of_possible == pytest.approx(1)
    assert (found.recovery_ms, found.top, found.wasted) == (0, 1, 0)


def test_recovery_lasts_until_nearly_all_are_answered_for_good() -> None:
    arrived_ns = np.arange(0, 6 * SECOND_NS, MS)
    answered = np.ones(len(arrived_ns), np.bool_)
    answered[4300:4310] = False
    assert verdict(made_run(arrived_ns, answered)).recovery_ms == pytest.approx(305, abs=1)
    answered[4300:4310:2] = True
    assert verdict(made_run(arrived_ns, answered)).recovery_ms == 0


def test_those_who_ask_again_are_looked_at_ten_seconds_after() -> None:
    trace = Trace("again", TRACE.times_ns, HIGH_NS, habit=RetryHabit(MS, SECOND_NS))
    arrived_ns = np.arange(0, 14 * SECOND_NS, MS // 2)  # 2000 a second, of which 800 can be
    found = verdict(made_run(arrived_ns, np.arange(len(arrived_ns)) % 4 == 0), trace)
    assert found.late_goodput == pytest.approx(500 / 800 / bound(2.5), rel=0.03)
    assert math.isnan(found.recovery_ms)


def test_trace_that_ends_says_nothing_of_what_comes_later() -> None:
    arrived_ns = np.arange(0, 4 * SECOND_NS, MS)
    found = verdict(made_run(arrived_ns, np.zeros(len(arrived_ns), np.bool_)))
    assert math.isnan(found.late_goodput)
    assert math.isnan(found.recovery_ms)
    assert math.isnan(found.p99)
    assert found.of_peak == 0
