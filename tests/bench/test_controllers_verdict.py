"""What a controller is judged by, on runs made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.controllers_plant import REFUSAL, TARGET_NS, make_graph
from bench.controllers_traces import NOISY, RARE_ROWS, Trace
from bench.controllers_verdict import Verdict, bound, judge
from sedp.engine.events import Outcome
from sedp.engine.scheduler import Scheduler
from sedp.simulator.callers import RetryHabit
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.shapes import SECOND_NS

MS = 1_000_000
HIGH_NS = (SECOND_NS, 4 * SECOND_NS)
TRACE = Trace("by hand", (), HIGH_NS)


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


def verdict(
    run: SimulatedRun, trace: Trace = TRACE, tenants: NDArray[np.int64] | None = None
) -> Verdict:
    if tenants is None:
        tenants = np.zeros(len(run.arrived_ns), np.int64)
    return judge(run, tenants, trace, 800, 1000)


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
    trace = Trace("again", (), HIGH_NS, habit=RetryHabit(MS, SECOND_NS))
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


def test_large_ones_are_judged_among_themselves() -> None:
    arrived_ns = np.arange(0, 5 * SECOND_NS, MS)
    is_large = np.arange(len(arrived_ns)) % 100 == 7
    run = made_run(arrived_ns, ~is_large | (np.arange(len(arrived_ns)) % 200 == 7))
    run = replace(
        run,
        rows=np.where(is_large, RARE_ROWS, 100).astype(np.int32),
        latency_ns=np.where(is_large, TARGET_NS, run.latency_ns),
    )
    assert verdict(run).rare == 1
    assert verdict(run).rare_served == pytest.approx(0.5, abs=0.01)


def test_other_tenants_are_compared_with_the_time_before_the_noise() -> None:
    arrived_ns = np.arange(0, 5 * SECOND_NS, MS)
    run = made_run(arrived_ns, np.ones(len(arrived_ns), np.bool_))
    tenants = np.arange(len(arrived_ns)) % 10
    noise = (arrived_ns >= HIGH_NS[0]) & (arrived_ns < HIGH_NS[1])
    slow = np.where(noise, 3, 2) * run.latency_ns // 2
    run = replace(run, latency_ns=np.where(tenants == NOISY, 9 * TARGET_NS, slow))
    assert verdict(run, tenants=tenants).others == pytest.approx(1.5, abs=0.01)
    assert math.isnan(verdict(run).others)


def test_top_level_of_a_noisy_tenant_does_not_count() -> None:
    arrived_ns = np.arange(0, 5 * SECOND_NS, MS)
    tenants = np.where(np.arange(len(arrived_ns)) % 20 == 0, NOISY, 0)
    run = made_run(arrived_ns, tenants != NOISY)
    assert verdict(run).top == pytest.approx(0.5, abs=0.01)
    assert verdict(run, tenants=tenants).top == 1
