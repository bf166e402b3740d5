"""The cut where time is lost outside the queues, under the virtual clock.

All runs are on one event loop, which reads requests and writes answers as well, and whose core
others take now and then. Queues are short then: much is refused at the door, and what is let in
finds the stages idle. The cut has to follow what newcomers meet at the door, not the queues.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sedp.simulator.service import LinearService, StageCost
from tests.stages.busy_loop import BusyLoop, Pauses
from tests.stages.cut_demand import MS, Course, offer

RUN_NS, SETTLED_NS = 1_400 * MS, 600 * MS
RATE_UNCUT = 1_200  # requests a second that the loop can answer when all is kept, pauses and all
READ_NS, WRITE_NS = 70_000, 50_000
COSTS = (
    StageCost(150_000, row_ns=90, event_ns=1_000, jitter=0.15),
    StageCost(100_000, row_ns=50, event_ns=1_000, jitter=0.15),
    StageCost(200_000, row_ns=300, event_ns=6_000, jitter=0.15),
    StageCost(200_000, row_ns=600, event_ns=6_000, jitter=0.15),
)
PAUSES = Pauses(10.0, (1 * MS, 6 * MS))
NEVER = {"from": 9.9, "to": 10.0}  # pressures that are not met


def demand(factor: float, seed: int, share: Mapping[str, float] | None = None) -> Course:
    """So many times what the loop can answer uncut."""
    return offer(
        factor * RATE_UNCUT,
        seed,
        RUN_NS,
        SETTLED_NS,
        LinearService(COSTS),
        BusyLoop,
        share,
        read_ns=READ_NS,
        write_ns=WRITE_NS,
        pauses=PAUSES,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nearly_all_are_answered_in_time_at_twice_the_demand(seed: int) -> None:
    course = demand(2.0, seed)
    assert course.in_time >= 0.985
    assert course.p99_ns <= 50 * MS
    assert max(course.kept_by_time) < 0.5  # once found, the cut does not come and go


def test_nothing_is_cut_at_a_load_that_is_borne_uncut() -> None:
    course = demand(0.7, 1)
    assert course.in_time == 1.0
    assert course.kept > 0.98


def test_without_the_cut_half_of_the_requests_are_dropped() -> None:
    course = demand(2.0, 1, NEVER)
    assert course.kept == 1.0
    assert 0.3 < course.in_time < 0.6
