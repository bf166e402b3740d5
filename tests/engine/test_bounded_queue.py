"""The queue against a plain list, by a machine that pushes, takes, reserves and discards."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sedp.engine.bounded_queue import GHOSTS_MAX
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived
from sedp.engine.fifo_queue import FifoQueue

ROWS = st.integers(1, 5)
DEADLINES = st.integers(0, 1000) | st.just(NEVER_NS)


def new_event(id_: int, rows: int = 1, deadline_ns: int = NEVER_NS) -> Event:
    return Event(Arrived(id_, 0, rows, deadline_ns), 0, 1)


@dataclass
class Entry:
    """What the model keeps of a waiting event."""

    enqueued_ns: int
    event: Event


class QueueMachine(RuleBasedStateMachine):
    """`waiting` is the model: the live entries, oldest first."""

    @initialize(rows_max=st.integers(1, 300))
    def start(self, rows_max: int) -> None:
        self.queue = FifoQueue(rows_max)
        self.waiting: list[Entry] = []
        self.waiting_peak = 0
        self.reserved_rows = 0
        self.waits_ns: list[int] = []
        self.now_ns = 0
        self.next_id = 0

    @rule(waiters=st.lists(st.tuples(ROWS, DEADLINES), min_size=1, max_size=30))
    def push(self, waiters: list[tuple[int, int]]) -> None:
        events = [new_event(self.next_id + i, *waiter) for i, waiter in enumerate(waiters)]
        self.next_id += len(events)
        self.queue.push(events, sum(event.rows for event in events), self.now_ns)
        self.waiting += [Entry(self.now_ns, event) for event in events]
        self.waiting_peak = max(self.waiting_peak, len(self.waiting))

    @rule(limit_rows=st.integers(1, 60), viable_ns=st.integers(0, 1000) | st.just(0))
    def take(self, limit_rows: int, viable_ns: int) -> None:
        taken: list[Entry] = []
        hopeless: list[Entry] = []
        for entry in self.waiting:
            if entry.event.deadline_ns < viable_ns:
                hopeless.append(entry)
            elif sum(e.event.rows for e in taken) + entry.event.rows > limit_rows:
                break
            else:
                taken.append(entry)
        del self.waiting[: len(taken) + len(hopeless)]
        self.waits_ns += [self.now_ns - entry.enqueued_ns for entry in taken]

        events, rows, given_up = self.queue.take(limit_rows, viable_ns, self.now_ns)
        assert events == [entry.event for entry in taken], "first in, first out"
        assert given_up == [entry.event for entry in hopeless]
        assert rows == sum(event.rows for event in events)
        if self.queue.rows < limit_rows:
            assert self.queue.tightest_ns == self.true_tightest_ns(), "sharp when a batch may wait"

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        """End some events that wait, few or nearly all, as callers leave."""
        share = data.draw(st.sampled_from([1, 2, 10]))
        start = data.draw(st.integers(0, len(self.waiting) - 1))
        gone = self.waiting[start::share]
        for entry in gone:
            entry.event.ended = True
            self.queue.discard(entry.event)
        self.waiting = [entry for entry in self.waiting if not entry.event.ended]

    @precondition(lambda self: self.waiting)
    @rule()
    def head(self) -> None:
        oldest = self.waiting[0]
        assert self.queue.head() == (oldest.enqueued_ns, oldest.event)

    @rule(rows=st.integers(1, 20))
    def reserve(self, rows: int) -> None:
        self.queue.reserved_rows += rows
        self.reserved_rows += rows

    @rule()
    def release(self) -> None:
        self.queue.reserved_rows -= self.reserved_rows
        self.reserved_rows = 0

    @rule(pause_ns=st.integers(1, 300))
    def wait(self, pause_ns: int) -> None:
        self.now_ns += pause_ns

    @invariant()
    def counts_equal_the_model(self) -> None:
        assert self.queue.rows == sum(entry.event.rows for entry in self.waiting)
        assert len(self.queue) == len(self.waiting)

    @invariant()
    def tightest_is_a_lower_bound(self) -> None:
        assert self.queue.tightest_ns <= self.true_tightest_ns()

    @invariant()
    def ghosts_are_bounded(self) -> None:
        ghosts = sum(event.ended for _, event in self.queue._entries)
        assert ghosts == len(self.queue._entries) - len(self.waiting)
        assert ghosts <= max(GHOSTS_MAX, self.waiting_peak)

    @invariant()
    def room_is_what_the_bound_leaves(self) -> None:
        committed_rows = self.queue.rows + self.reserved_rows
        wanted_rows = 500  # more than any bound here
        if committed_rows:
            assert self.queue.room_rows(wanted_rows) == self.queue.rows_max - committed_rows
        else:
            assert self.queue.room_rows(wanted_rows) == wanted_rows
            assert self.queue.room_rows(1) == self.queue.rows_max

    @invariant()
    def waits_are_recorded_once_an_event_taken(self) -> None:
        assert self.queue.waits.snapshot().count == len(self.waits_ns)
        assert self.queue.waits.snapshot().total == sum(self.waits_ns)

    def true_tightest_ns(self) -> int:
        return min((entry.event.deadline_ns for entry in self.waiting), default=NEVER_NS)


TestQueueAgainstAList = pytest.mark.slow(QueueMachine.TestCase)
QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_an_empty_queue_has_room_for_an_event_larger_than_itself() -> None:
    assert FifoQueue(10).room_rows(25) == 25


def test_a_single_waiting_row_ends_that_courtesy() -> None:
    queue = FifoQueue(10)
    queue.push([new_event(0)], 1, 0)
    assert queue.room_rows(25) == 9


def test_a_reserved_row_ends_it_too() -> None:
    queue = FifoQueue(10)
    queue.reserved_rows = 1
    assert queue.room_rows(25) == 9


def test_an_event_too_large_for_the_rest_of_a_batch_holds_up_those_behind() -> None:
    """Skipping it would let small events starve large ones."""
    queue = FifoQueue(100)
    events = [new_event(0, rows=3), new_event(1, rows=5), new_event(2, rows=1)]
    queue.push(events, 9, 0)
    taken, rows, _ = queue.take(limit_rows=6, viable_ns=0, now_ns=0)
    assert (taken, rows) == (events[:1], 3)


def test_a_deadline_at_the_last_viable_moment_is_not_hopeless() -> None:
    queue = FifoQueue(100)
    events = [new_event(0, deadline_ns=99), new_event(1, deadline_ns=100)]
    queue.push(events, 2, 0)
    taken, _, hopeless = queue.take(limit_rows=10, viable_ns=100, now_ns=0)
    assert (taken, hopeless) == (events[1:], events[:1])


def test_discarding_everybody_leaves_few_ghosts() -> None:
    queue = FifoQueue(10_000)
    events = [new_event(id_) for id_ in range(5000)]
    queue.push(events, 5000, 0)
    for event in events:
        event.ended = True
        queue.discard(event)
    assert (queue.rows, len(queue)) == (0, 0)
    assert len(queue._entries) <= GHOSTS_MAX


def test_events_that_end_together_are_discarded_once_each() -> None:
    """As a sweep of deadlines ends them: all have ended before the first is discarded."""
    queue = FifoQueue(10_000)
    events = [new_event(id_) for id_ in range(10 * GHOSTS_MAX)]
    queue.push(events, len(events), 0)
    for event in events[1:]:
        event.ended = True
    for event in events[1:]:
        queue.discard(event)
    assert (queue.rows, len(queue), [event.id for _, event in queue]) == (1, 1, [0])
    assert [event.id for event in queue.take(10, 0, 0)[0]] == [0]
    assert (queue.rows, len(queue)) == (0, 0)


def test_an_empty_queue_is_pressed_by_no_deadline() -> None:
    queue = FifoQueue(10)
    queue.push([new_event(0, deadline_ns=5)], 1, 0)
    _, _, hopeless = queue.take(0, viable_ns=6, now_ns=0)
    assert [event.id for event in hopeless] == [0]
    assert queue.tightest_ns == NEVER_NS
