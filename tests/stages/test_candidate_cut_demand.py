"""Twice the demand that fits uncut, under the virtual clock: the cut, and what it saves.

A pipeline of preview, cut, and two costly stages, its admission and scheduler as they serve; only
time is a model. The cut is a loop: what it leaves decides how fast the stages behind it are, that
decides the pressure, and the pressure decides how deep it cuts. With the shares that ship it swings
little enough.
"""

from __future__ import annotations

import pytest

from sedp.simulator.service import LinearService, StageCost
from tests.stages.cut_demand import MS, TARGET_NS, Course, offer

RUN_NS, SETTLED_NS = 800 * MS, 200 * MS
RATE_UNCUT = 1_300  # requests a second that two cores can answer when all is kept
LATE = {"from": 0.2, "to": 0.4}
NEVER = {"from": 9.9, "to": 10.0}  # pressures that are not met
COSTS = (
    StageCost(100_000, row_ns=100, event_ns=1_000, jitter=0.1),
    StageCost(50_000, row_ns=10, event_ns=1_000, jitter=0.1),
    StageCost(300_000, row_ns=1_000, event_ns=20_000, jitter=0.1),
    StageCost(300_000, row_ns=2_000, event_ns=20_000, jitter=0.1),
)


def demand(factor: float, seed: int, **share: float) -> Course:
    """So many times what two cores can answer uncut."""
    rate = factor * RATE_UNCUT
    service = LinearService(COSTS)
    return offer(rate, seed, RUN_NS, SETTLED_NS, service, share=share, cores=2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_request_is_answered_in_time_at_twice_the_demand(seed: int) -> None:
    course = demand(2.0, seed)
    assert course.in_time == 1.0
    assert course.p99_ns < TARGET_NS / 2  # it does not swing up to the target, and back
    assert course.kept > 0.2  # no deeper than was needed


def test_nearly_nothing_is_cut_at_half_of_what_fits() -> None:
    course = demand(0.5, 1)
    assert course.in_time == 1.0
    assert course.kept > 0.9


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_cut_that_begins_late_does_not_swing_up_to_the_target_either(seed: int) -> None:
    course = demand(2.0, seed, **LATE)
    assert course.in_time > 0.99
    assert course.p99_ns < 0.85 * TARGET_NS


def test_without_the_cut_half_of_the_requests_are_dropped() -> None:
    course = demand(2.0, 1, **NEVER)
    assert course.kept == 1.0
    assert 0.4 < course.in_time < 0.6
