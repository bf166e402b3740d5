"""Each tenant in turn, by rows: the queue of a stage whose pipeline has several tenants.

Start-time fair queueing (Goyal et al., 1996). A tenant's events wait in a lane of their own, in
order. A lane is *due* at a virtual time, counted in rows: each event taken puts it off by its
rows, and the lane that is due first is next. Who comes after a pause is due now, before the
backlog of those who ask for more than their part: a quiet tenant waits for the others' parts, and
for nobody's excess. Of two that are due together the one that came first is first.

Room, ghosts and deadlines are as in any queue. An operation costs the logarithm of the number of
tenants that wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from sedp.engine.bounded_queue import GHOSTS_MAX, BoundedQueue, Entry
from sedp.engine.event import Event

IDLE_LANES_MAX = 256  # more have their debts forgiven


class Lane:
    """The events of one tenant, `live` of them; `due` is the virtual time at which the first is."""

    __slots__ = ("due", "events", "live")

    def __init__(self) -> None:
        self.due = 0
        self.live = 0
        self.events: deque[Event] = deque()


class FairQueue(BoundedQueue):
    """Takes over what waits in `queue`, and its place.

    Invariants: `_turns` has each lane with live events exactly once, under the time it is due;
    `_now` is when the event that was taken last was due, and no lane there is due before. Ended
    events stay as ghosts among live ones; a lane without any is kept while it is due after now.
    """

    __slots__ = ("_ghosts", "_lanes", "_now", "_serial", "_turns", "_waiting")

    def __init__(self, queue: BoundedQueue) -> None:
        super().__init__(queue.rows_max)
        self.reserved_rows = queue.reserved_rows
        self.waits = queue.waits
        self._waiting: OrderedDict[Event, int] = OrderedDict()  # since when
        self._lanes: dict[int, Lane] = {}  # by tenant
        self._turns: list[tuple[int, int, Lane]] = []  # a heap: due, serial, lane
        self._ghosts = 0
        self._now = 0
        self._serial = 0
        for enqueued_ns, event in queue:
            self.push((event,), event.rows, enqueued_ns)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Entry]:
        return ((enqueued_ns, event) for event, enqueued_ns in self._waiting.items())

    def push(self, events: Sequence[Event], rows: int, now_ns: int) -> None:
        for event in events:
            lane = self._lanes.get(event.tenant)
            if lane is None:
                lane = self._new_lane(event.tenant)
            if not lane.events:
                lane.due = max(lane.due, self._now)
                self._serial += 1
                heappush(self._turns, (lane.due, self._serial, lane))
            lane.events.append(event)
            lane.live += 1
            self._waiting[event] = now_ns
            if event.deadline_ns < self.tightest_ns:
                self.tightest_ns = event.deadline_ns
        self.rows += rows

    def head(self) -> Entry:
        self._bury()
        return next(iter(self._waiting.values())), self._turns[0][2].events[0]

    def take(
        self, limit_rows: int, viable_ns: int, now_ns: int, stale_ns: int = 0
    ) -> tuple[list[Event], int, list[Event]]:
        turns, waiting, record = self._turns, self._waiting, self.waits.record
        taken: list[Event] = []
        hopeless: list[Event] = []
        rows = 0
        while turns:
            lane = turns[0][2]
            event = lane.events[0]
            if event.ended:
                self._ghosts -= 1
            elif event.deadline_ns < viable_ns or waiting[event] < stale_ns:
                hopeless.append(event)
                self.rows -= event.rows
                lane.live -= 1
                del waiting[event]
            elif rows + event.rows > limit_rows:
                break
            else:
                taken.append(event)
                rows += event.rows
                record(now_ns - waiting.pop(event))
                self._now = lane.due
                lane.due += event.rows
                lane.live -= 1
            lane.events.popleft()
            self._next_turn(lane)
        self.rows -= rows
        if not waiting:
            self._begin_anew()
        if self.rows < limit_rows:  # only then will a batch wait, and must the bound be sharp
            self._sharpen(self)
        return taken, rows, hopeless

    def discard(self, event: Event) -> None:
        self.rows -= event.rows
        del self._waiting[event]
        self._ghosts += 1
        lane = self._lanes[event.tenant]
        lane.live -= 1
        if not lane.live:
            self._empty(lane)
            self._turns = [turn for turn in self._turns if turn[2] is not lane]
            heapify(self._turns)
        if self._ghosts > GHOSTS_MAX and self._ghosts > len(self._waiting):
            self._sweep()

    def _next_turn(self, lane: Lane) -> None:
        """The first event of the lane whose turn it is has gone: set its next turn."""
        if not lane.live:
            self._empty(lane)
            heappop(self._turns)
        elif lane.due != self._turns[0][0]:
            self._serial += 1
            heapreplace(self._turns, (lane.due, self._serial, lane))

    def _empty(self, lane: Lane) -> None:
        """Nobody in the lane lives."""
        self._ghosts -= len(lane.events)
        lane.events.clear()

    def _bury(self) -> None:
        """Remove ghosts until the next event is one that lives."""
        while (lane := self._turns[0][2]).events[0].ended:
            lane.events.popleft()
            self._ghosts -= 1
            self._next_turn(lane)

    def _sweep(self) -> None:
        """Remove all ghosts."""
        for lane in self._lanes.values():
            lane.events = deque(event for event in lane.events if not event.ended)
        self._turns = [turn for turn in self._turns if turn[2].events]
        self._turns.sort()
        # Those that ended together with the last one are gone, too, and will yet be discarded.
        kept = sum(len(lane.events) for lane in self._lanes.values())
        self._ghosts = kept - len(self._waiting)

    def _new_lane(self, tenant: int) -> Lane:
        idle = len(self._lanes) - len(self._turns)
        if idle > IDLE_LANES_MAX and idle > len(self._turns):
            self._lanes = {key: lane for key, lane in self._lanes.items() if lane.events}
        lane = self._lanes[tenant] = Lane()
        return lane

    def _begin_anew(self) -> None:
        """Nobody waits: nobody was kept waiting by anybody, and all debts are settled."""
        self._lanes.clear()
        self._turns.clear()
        self._ghosts = self._now = 0
