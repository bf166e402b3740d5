"""The fair queue against a plain model, by a machine."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sedp.engine.bounded_queue import GHOSTS_MAX
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS
from tests.engine.fair_queues import new_event, new_queue

ROWS = st.integers(1, 5)
DEADLINES = st.integers(0, 1000) | st.just(NEVER_NS)
TENANTS = st.integers(0, 4)


@dataclass
class PlainLane:
    """A tenant in the model: its live entries, when it is due, and the order among the equal."""

    due: int = 0
    turn: int = 0
    entries: list[tuple[int, Event]] = field(default_factory=list)


class FairQueueMachine(RuleBasedStateMachine):
    """The model looks through all lanes for the one that is due first."""

    @initialize(rows_max=st.integers(1, 300))
    def start(self, rows_max: int) -> None:
        self.queue = new_queue(rows_max)
        self.lanes: dict[int, PlainLane] = {}
        self.virtual_now = 0
        self.turn = 0
        self.waits_ns: list[int] = []
        self.now_ns = 0
        self.next_id = 0
        self.waiting_peak = 0

    @rule(waiters=st.lists(st.tuples(TENANTS, ROWS, DEADLINES), min_size=1, max_size=30))
    def push(self, waiters: list[tuple[int, int, int]]) -> None:
        events = [new_event(self.next_id + i, *waiter) for i, waiter in enumerate(waiters)]
        self.next_id += len(events)
        self.queue.push(events, sum(event.rows for event in events), self.now_ns)
        for event in events:
            lane = self.lanes.setdefault(event.tenant, PlainLane())
            if not lane.entries:
                self.line_up(lane, max(lane.due, self.virtual_now))
            lane.entries.append((self.now_ns, event))
        self.waiting_peak = max(self.waiting_peak, len(self.waiting()))

    @rule(
        limit_rows=st.integers(0, 60),
        viable_ns=st.integers(0, 1000) | st.just(0),
        patience_ns=st.integers(0, 500) | st.just(NEVER_NS),
    )
    def take(self, limit_rows: int, viable_ns: int, patience_ns: int) -> None:
        stale_ns = max(0, self.now_ns - patience_ns)
        taken: list[Event] = []
        hopeless: list[Event] = []
        left_rows = limit_rows
        while (lane := self.first_lane()) is not None:
            enqueued_ns, event = lane.entries[0]
            if event.deadline_ns < viable_ns or enqueued_ns < stale_ns:
                hopeless.append(event)
                lane.entries.pop(0)
            elif event.rows > left_rows:
                break
            else:
                taken.append(event)
                lane.entries.pop(0)
                left_rows -= event.rows
                self.waits_ns.append(self.now_ns - enqueued_ns)
                self.virtual_now = lane.due
                self.line_up(lane, lane.due + event.rows)
        if not self.waiting():
            self.lanes.clear()
            self.virtual_now = 0

        events, rows, given_up = self.queue.take(limit_rows, viable_ns, self.now_ns, stale_ns)
        assert events == taken
        assert given_up == hopeless
        assert rows == sum(event.rows for event in taken)
        if self.queue.rows < limit_rows:
            assert self.queue.tightest_ns == self.true_tightest_ns(), "sharp when a batch may wait"

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        """End some events that wait; the first of a tenant stays, whose place in line it has."""
        share = data.draw(st.sampled_from([1, 2, 10]))
        for lane in self.lanes.values():
            for _, event in lane.entries[1::share]:
                event.ended = True
                self.queue.discard(event)
            lane.entries = [entry for entry in lane.entries if not entry[1].ended]

    @precondition(lambda self: self.waiting())
    @rule()
    def head(self) -> None:
        oldest_ns = min(enqueued_ns for enqueued_ns, _ in self.waiting())
        lane = self.first_lane()
        assert lane is not None
        assert self.queue.head() == (oldest_ns, lane.entries[0][1])

    @rule(pause_ns=st.integers(1, 300))
    def wait(self, pause_ns: int) -> None:
        self.now_ns += pause_ns

    @invariant()
    def counts_equal_the_model(self) -> None:
        waiting = self.waiting()
        assert self.queue.rows == sum(event.rows for _, event in waiting)
        assert len(self.queue) == len(waiting)
        assert sorted((at, event.id) for at, event in self.queue) == sorted(
            (at, event.id) for at, event in waiting
        )

    @invariant()
    def tightest_is_a_lower_bound(self) -> None:
        assert self.queue.tightest_ns <= self.true_tightest_ns()

    @invariant()
    def ghosts_are_counted_and_bounded(self) -> None:
        kept = [event for lane in self.queue._lanes.values() for event in lane.events]
        ghosts = sum(event.ended for event in kept)
        assert ghosts == self.queue._ghosts == len(kept) - len(self.queue)
        assert ghosts <= max(GHOSTS_MAX, self.waiting_peak)

    @invariant()
    def waits_are_recorded_once_an_event_taken(self) -> None:
        assert self.queue.waits.snapshot().count == len(self.waits_ns)
        assert self.queue.waits.snapshot().total == sum(self.waits_ns)

    def line_up(self, lane: PlainLane, due: int) -> None:
        lane.due = due
        self.turn += 1
        lane.turn = self.turn

    def first_lane(self) -> PlainLane | None:
        lanes = [lane for lane in self.lanes.values() if lane.entries]
        return min(lanes, key=lambda lane: (lane.due, lane.turn), default=None)

    def waiting(self) -> list[tuple[int, Event]]:
        return [entry for lane in self.lanes.values() for entry in lane.entries]

    def true_tightest_ns(self) -> int:
        return min((event.deadline_ns for _, event in self.waiting()), default=NEVER_NS)


TestFairQueueAgainstAModel = pytest.mark.slow(FairQueueMachine.TestCase)
FairQueueMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
