"""What each tenant gets of the fair queue."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.bounded_queue import GHOSTS_MAX
from sedp.engine.fair_queue import IDLE_LANES_MAX, FairQueue
from sedp.engine.fifo_queue import FifoQueue
from tests.engine.fair_queues import new_event, new_queue, take

ROWS = st.integers(1, 5)
TENANTS = st.integers(0, 4)


def test_one_tenant_is_served_first_in_first_out() -> None:
    queue = new_queue()
    queue.push([new_event(id_, rows=1 + id_ % 3) for id_ in range(9)], 18, 0)
    assert [take(queue, 3) for _ in range(7)] == [[0, 1], [2], [3, 4], [5], [6, 7], [8], []]


def test_quiet_tenant_passes_the_backlog_of_a_noisy_one() -> None:
    queue = new_queue()
    queue.push([new_event(id_, tenant=1) for id_ in range(50)], 50, 0)
    take(queue, 10)
    queue.push([new_event(100, tenant=2)], 1, 5)
    assert take(queue, 2) == [100, 10]


def test_turns_are_counted_in_rows_and_not_in_events() -> None:
    queue = new_queue()
    queue.push([new_event(id_, tenant=1, rows=6) for id_ in range(5)], 30, 0)
    queue.push([new_event(10 + id_, tenant=2, rows=2) for id_ in range(15)], 30, 0)
    taken = take(queue, 24)
    assert Counter(id_ >= 10 for id_ in taken) == {False: 2, True: 6}


def test_tenant_that_comes_with_one_event_at_a_time_gets_no_more_than_its_part() -> None:
    """It owes for what it had; else it would always be due now, before those who wait."""
    queue = new_queue()
    queue.push([new_event(id_, tenant=1) for id_ in range(100)], 100, 0)
    taken: list[int] = []
    for round_ in range(40):
        if round_ == 0 or taken[-1] >= 1000:
            queue.push([new_event(1000 + round_, tenant=2)], 1, round_)
        taken += take(queue, 1)
    assert sum(id_ >= 1000 for id_ in taken) == 20


def test_tenant_saves_nothing_up_while_it_is_away() -> None:
    queue = new_queue()
    queue.push([new_event(id_, tenant=1) for id_ in range(100)], 100, 0)
    take(queue, 50)
    queue.push([new_event(1000 + id_, tenant=2) for id_ in range(50)], 50, 1)
    assert sum(id_ >= 1000 for id_ in take(queue, 20)) in (10, 11)


def test_head_tells_how_long_the_oldest_waits_and_who_is_next() -> None:
    queue = new_queue()
    events = [new_event(id_, tenant=1) for id_ in range(3)]
    queue.push(events, 3, 10)
    take(queue, 1)
    newcomer = new_event(9, tenant=2)
    queue.push([newcomer], 1, 20)
    assert queue.head() == (10, newcomer)


def test_event_too_large_for_the_rest_of_a_batch_holds_up_all_tenants() -> None:
    """Passing it would let small events starve large ones."""
    queue = new_queue()
    queue.push([new_event(0, 1, 3), new_event(1, 2, 5), new_event(2, 3, 1)], 9, 0)
    assert take(queue, 6) == [0]
    assert take(queue, 6) == [1, 2]


def test_hopeless_events_cost_their_tenant_nothing() -> None:
    queue = new_queue()
    late = [new_event(id_, tenant=1, rows=50, deadline_ns=5) for id_ in range(3)]
    queue.push([*late, new_event(3, tenant=1), new_event(4, tenant=2)], 152, 0)
    taken, rows, hopeless = queue.take(limit_rows=1, viable_ns=6, now_ns=0)
    assert ([event.id for event in taken], rows, hopeless) == ([3], 1, late)
    assert take(queue, 1) == [4]


def test_ended_events_of_a_whole_tenant_are_passed_over() -> None:
    queue = new_queue()
    gone = [new_event(id_, tenant=1) for id_ in range(3)]
    queue.push([*gone, new_event(3, tenant=2)], 4, 0)
    for event in gone:
        event.ended = True
        queue.discard(event)
    assert queue.head()[1].id == 3
    assert take(queue, 10) == [3]
    assert (queue.rows, len(queue)) == (0, 0)


def test_discarding_everybody_leaves_few_ghosts() -> None:
    queue = new_queue(10_000)
    events = [new_event(id_, tenant=id_ % 7) for id_ in range(5000)]
    queue.push(events, 5000, 0)
    for event in events:
        event.ended = True
        queue.discard(event)
    assert (queue.rows, len(queue)) == (0, 0)
    assert sum(len(lane.events) for lane in queue._lanes.values()) <= GHOSTS_MAX


def test_lanes_of_tenants_that_left_are_bounded() -> None:
    """The queue is never empty here, so that it never begins anew."""
    queue = new_queue(10_000)
    queue.push([new_event(id_, tenant=0) for id_ in range(5000)], 5000, 0)
    for tenant in range(1, 4000):
        queue.push([new_event(10_000 + tenant, tenant=tenant)], 1, 0)
        take(queue, 1)
        assert len(queue._lanes) <= IDLE_LANES_MAX + 3


def test_what_waits_in_another_queue_is_taken_over_with_its_reservations() -> None:
    before = FifoQueue(500)
    events = [new_event(id_, tenant=1, deadline_ns=100 + id_) for id_ in range(5)]
    before.push(events[:3], 3, 7)
    before.push(events[3:], 2, 8)
    before.reserved_rows = 11
    events[0].ended = True
    before.discard(events[0])
    queue = FairQueue(before)
    assert list(queue) == list(before)
    assert (queue.rows, queue.reserved_rows, queue.rows_max) == (4, 11, 500)
    assert queue.tightest_ns == 101
    assert queue.waits is before.waits
    assert take(queue, 100) == [1, 2, 3, 4]


@given(
    arrivals=st.lists(st.tuples(TENANTS, ROWS), min_size=30, max_size=200),
    limit_rows=st.integers(5, 20),
)
def test_tenants_that_wait_all_along_get_equal_rows(
    arrivals: list[tuple[int, int]], limit_rows: int
) -> None:
    """To an event's rows each, which is the bound of start-time fair queueing."""
    queue = new_queue(10_000)
    events = [new_event(id_, *arrival) for id_, arrival in enumerate(arrivals)]
    queue.push(events, sum(event.rows for event in events), 0)
    left = Counter(event.tenant for event in events)
    had: Counter[int] = Counter(dict.fromkeys(left, 0))
    while queue.rows:
        for event in queue.take(limit_rows, 0, 0)[0]:
            had[event.tenant] += event.rows
            left[event.tenant] -= 1
            if not left[event.tenant]:
                return  # up to here all have waited all along
            assert max(had.values()) - min(had.values()) <= 2 * 5


def test_events_that_end_together_are_discarded_once_each() -> None:
    """As a sweep of deadlines ends them: all have ended before the first is discarded."""
    queue = new_queue(10_000)
    events = [new_event(id_, tenant=id_ % 7) for id_ in range(10 * GHOSTS_MAX)]
    queue.push(events, len(events), 0)
    for event in events[1:]:
        event.ended = True
    for event in events[1:]:
        queue.discard(event)
    ghosts = sum(len(lane.events) for lane in queue._lanes.values()) - len(queue)
    assert (queue.rows, len(queue), queue._ghosts) == (1, 1, ghosts)
    assert take(queue, 10) == [0]
    assert (queue.rows, len(queue)) == (0, 0)
