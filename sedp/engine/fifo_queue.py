"""First in, first out: the queue of a stage while its pipeline has one tenant."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from sedp.engine.bounded_queue import GHOSTS_MAX, BoundedQueue, Entry
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS


class FifoQueue(BoundedQueue):
    """Ended events stay as ghosts that count no rows."""

    __slots__ = ("_entries", "_ghosts")

    def __init__(self, rows_max: int) -> None:
        super().__init__(rows_max)
        self._entries: deque[Entry] = deque()
        self._ghosts = 0

    def __len__(self) -> int:
        return len(self._entries) - self._ghosts

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry in self._entries if not entry[1].ended)

    def push(self, events: Sequence[Event], rows: int, now_ns: int) -> None:
        for event in events:
            self._entries.append((now_ns, event))
            if event.deadline_ns < self.tightest_ns:
                self.tightest_ns = event.deadline_ns
        self.rows += rows

    def head(self) -> Entry:
        while self._entries[0][1].ended:
            self._entries.popleft()
            self._ghosts -= 1
        return self._entries[0]

    def take(
        self, limit_rows: int, viable_ns: int, now_ns: int, stale_ns: int = 0
    ) -> tuple[list[Event], int, list[Event]]:
        entries, record = self._entries, self.waits.record
        taken: list[Event] = []
        hopeless: list[Event] = []
        rows = 0
        while entries:
            enqueued_ns, event = entries[0]
            if event.ended:
                self._ghosts -= 1
            elif event.deadline_ns < viable_ns or enqueued_ns < stale_ns:
                hopeless.append(event)
                self.rows -= event.rows
            elif rows + event.rows > limit_rows:
                break
            else:
                taken.append(event)
                rows += event.rows
                record(now_ns - enqueued_ns)
            entries.popleft()
        self.rows -= rows
        if not entries:
            self.tightest_ns = NEVER_NS
        elif self.rows < limit_rows:  # only then will a batch wait, and must the bound be sharp
            self._sharpen(entries)
        return taken, rows, hopeless

    def discard(self, event: Event) -> None:
        self.rows -= event.rows
        self._ghosts += 1
        if self._ghosts > GHOSTS_MAX and self._ghosts * 2 > len(self._entries):
            waiting = len(self)
            self._entries = deque(self)
            # Those that ended together with this one are gone, too, and will yet be discarded.
            self._ghosts = len(self._entries) - waiting
