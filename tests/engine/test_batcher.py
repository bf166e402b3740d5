"""When a batch closes, and how the estimate of service time moves."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.engine.batcher import ServiceFloor, batch_due_ns
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived
from sedp.engine.fifo_queue import FifoQueue
from sedp.engine.graph import StagePlan

PLAN = StagePlan(batch_rows_max=10, batch_wait_ns=100)
SERVICE_NS = st.integers(0, 2**50)


def queue_of(*waiters: tuple[int, int, int]) -> tuple[FifoQueue, list[Event]]:
    """A queue of events given as (enqueued_ns, rows, deadline_ns)."""
    queue = FifoQueue(1000)
    events = []
    for id_, (enqueued_ns, rows, deadline_ns) in enumerate(waiters):
        events.append(Event(Arrived(id_, 0, rows, deadline_ns), enqueued_ns, 1))
        queue.push(events[-1:], rows, enqueued_ns)
    return queue, events


def test_the_oldest_event_sets_the_time() -> None:
    queue, _ = queue_of((5, 1, NEVER_NS), (50, 1, NEVER_NS))
    assert batch_due_ns(queue, PLAN, 0) == 105


def test_a_plan_without_a_wait_is_due_at_once() -> None:
    queue, _ = queue_of((5, 1, NEVER_NS))
    assert batch_due_ns(queue, StagePlan(batch_wait_ns=0), 0) == 0


def test_full_is_due_at_once() -> None:
    queue, _ = queue_of((5, 9, NEVER_NS))
    assert batch_due_ns(queue, PLAN, 0) == 105
    queue, _ = queue_of((5, 9, NEVER_NS), (6, 1, NEVER_NS))
    assert batch_due_ns(queue, PLAN, 0) == 0


def test_company_that_finds_no_room_is_not_waited_for() -> None:
    queue, _ = queue_of((5, 4, NEVER_NS), (6, 4, NEVER_NS))
    queue.rows_max = 12
    assert batch_due_ns(queue, PLAN, 0) == 105
    queue.rows_max = 11
    assert batch_due_ns(queue, PLAN, 0) == 0


def test_a_deadline_leaves_time_for_the_path_to_the_answer() -> None:
    queue, _ = queue_of((5, 1, NEVER_NS), (6, 1, 90))
    assert batch_due_ns(queue, PLAN, path_floor_ns=30) == 60


def test_an_event_that_has_ended_does_not_count_as_the_oldest() -> None:
    queue, events = queue_of((5, 1, NEVER_NS), (50, 1, NEVER_NS))
    events[0].ended = True
    queue.discard(events[0])
    assert batch_due_ns(queue, PLAN, 0) == 150


@settings(deadline=None)
@given(
    waiters=st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 3), st.integers(0, 500)),
        min_size=1,
        max_size=6,
    ).map(sorted),
    floor_ns=st.integers(0, 100),
)
def test_the_earliest_of_all_reasons_decides(
    waiters: list[tuple[int, int, int]], floor_ns: int
) -> None:
    queue, _ = queue_of(*waiters)
    if sum(rows for _, rows, _ in waiters) >= PLAN.batch_rows_max:
        due_ns = 0
    else:
        tightest_ns = min(deadline_ns for _, _, deadline_ns in waiters)
        due_ns = min(waiters[0][0] + PLAN.batch_wait_ns, tightest_ns - floor_ns)
    assert batch_due_ns(queue, PLAN, floor_ns) == due_ns


@settings(deadline=None)
@given(runs=st.lists(SERVICE_NS, min_size=1, max_size=30))
def test_the_floor_is_never_above_the_last_run(runs: list[int]) -> None:
    floor = ServiceFloor()
    for service_ns in runs:
        floor.observe(service_ns)
        assert 0 <= floor.ns <= service_ns


def test_the_floor_falls_at_once() -> None:
    floor = ServiceFloor()
    floor.observe(1_000_000)
    floor.observe(200)
    assert floor.ns == 200


@settings(deadline=None)
@given(low_ns=st.integers(1, 2**40), gap_ns=st.integers(0, 2**40), runs=st.integers(1, 50))
def test_the_floor_rises_by_a_sixteenth_of_the_gap(low_ns: int, gap_ns: int, runs: int) -> None:
    floor = ServiceFloor()
    floor.observe(low_ns)
    for _ in range(runs):
        before_ns = floor.ns
        floor.observe(low_ns + gap_ns)
        assert floor.ns == before_ns + (low_ns + gap_ns - before_ns) // 16


@settings(deadline=None)
@given(service_ns=SERVICE_NS)
def test_doubt_brings_any_floor_down_to_zero(service_ns: int) -> None:
    """ln(2**50) / ln(8/7) is 260: so many refusals at most before a run may correct the floor."""
    floor = ServiceFloor()
    floor.observe(service_ns)
    for _ in range(270):
        before_ns = floor.ns
        floor.doubt()
        assert floor.ns < before_ns or before_ns == 0
        assert floor.ns >= before_ns * 7 // 8 - 1
    assert floor.ns == 0


def test_after_doubt_a_run_sets_the_floor_anew() -> None:
    floor = ServiceFloor()
    floor.observe(3)
    for _ in range(3):
        floor.doubt()
    floor.observe(5_000)
    assert floor.ns == 5_000
