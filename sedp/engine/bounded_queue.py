"""The queue in front of a stage: first in first out, bounded in rows.

Room is *reserved* when the stage before starts a batch and turned into entries when it ends, so a
result never meets a full queue. An empty queue takes an event of any size: a bound smaller than
one event must slow the pipeline down, not stop it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS
from sedp.engine.histogram import Histogram

GHOSTS_MAX = 64  # ended events left in place before the queue is swept; keeps removal O(1)


class BoundedQueue:
    """Entries are `(enqueued_ns, event)`. Ended events stay as ghosts that count no rows."""

    __slots__ = ("_entries", "_ghosts", "reserved_rows", "rows", "rows_max", "tightest_ns", "waits")

    def __init__(self, rows_max: int) -> None:
        self._entries: deque[tuple[int, Event]] = deque()
        self._ghosts = 0
        self.rows_max = rows_max
        self.rows = 0
        self.reserved_rows = 0
        self.tightest_ns = NEVER_NS  # a lower bound of the deadlines inside
        self.waits = Histogram()

    def __len__(self) -> int:
        return len(self._entries) - self._ghosts

    def room_rows(self, wanted_rows: int) -> int:
        """Rows that may still come; an empty queue has room for `wanted_rows` at least."""
        committed = self.rows + self.reserved_rows
        return self.rows_max - committed if committed else max(self.rows_max, wanted_rows)

    def push(self, events: Sequence[Event], rows: int, now_ns: int) -> None:
        """Append events of `rows` rows together; room was checked or reserved before."""
        for event in events:
            self._entries.append((now_ns, event))
            if event.deadline_ns < self.tightest_ns:
                self.tightest_ns = event.deadline_ns
        self.rows += rows

    def head(self) -> tuple[int, Event]:
        """The oldest live entry; only when `rows` > 0."""
        while self._entries[0][1].ended:
            self._entries.popleft()
            self._ghosts -= 1
        return self._entries[0]

    def take(
        self, limit_rows: int, viable_ns: int, now_ns: int, stale_ns: int = 0
    ) -> tuple[list[Event], int, list[Event]]:
        """Pop events for one batch, oldest first.

        Args:
            limit_rows: most rows to take.
            viable_ns: an event whose deadline is earlier cannot be served in time any more.
            stale_ns: an event that was enqueued earlier has waited for too long.

        Returns:
            The events, their rows, and the hopeless ones met on the way.
        """
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
        if self.rows < limit_rows:  # only then will a batch wait, and must the bound be sharp
            self.tightest_ns = NEVER_NS
            for _, event in entries:
                if event.deadline_ns < self.tightest_ns and not event.ended:
                    self.tightest_ns = event.deadline_ns
        return taken, rows, hopeless

    def discard(self, event: Event) -> None:
        """Forget an event that waits here and was marked ended."""
        self.rows -= event.rows
        self._ghosts += 1
        if self._ghosts > GHOSTS_MAX and self._ghosts * 2 > len(self._entries):
            self._entries = deque(entry for entry in self._entries if not entry[1].ended)
            self._ghosts = 0
