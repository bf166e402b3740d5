"""What waits in front of a stage, bounded in rows; who is next is decided by the kinds of queue.

Room is *reserved* when the stage before starts a batch and turned into entries when it ends, so a
result never meets a full queue. An empty queue takes an event of any size: a bound smaller than
one event must slow the pipeline down, not stop it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS
from sedp.engine.histogram import Histogram

GHOSTS_MAX = 64  # ended events left in place before the queue is swept; keeps removal O(1)

Entry = tuple[int, Event]  # since when it waits


class BoundedQueue(ABC):
    """Iterates over the entries that live, the oldest first."""

    __slots__ = ("reserved_rows", "rows", "rows_max", "tightest_ns", "waits")

    def __init__(self, rows_max: int) -> None:
        self.rows_max = rows_max
        self.rows = 0
        self.reserved_rows = 0
        self.tightest_ns = NEVER_NS  # a lower bound of the deadlines inside
        self.waits = Histogram()

    def room_rows(self, wanted_rows: int) -> int:
        """Rows that may still come; an empty queue has room for `wanted_rows` at least."""
        committed = self.rows + self.reserved_rows
        return self.rows_max - committed if committed else max(self.rows_max, wanted_rows)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]: ...

    @abstractmethod
    def push(self, events: Sequence[Event], rows: int, now_ns: int) -> None:
        """Append events of `rows` rows together; room was checked or reserved before."""

    @abstractmethod
    def head(self) -> Entry:
        """Since when the oldest waits, and who is taken next; only when `rows` > 0."""

    @abstractmethod
    def take(
        self, limit_rows: int, viable_ns: int, now_ns: int, stale_ns: int = 0
    ) -> tuple[list[Event], int, list[Event]]:
        """Pop events for one batch, until the next is too large for what is left of it.

        Args:
            limit_rows: most rows to take.
            viable_ns: an event whose deadline is earlier cannot be served in time any more.
            stale_ns: an event that was enqueued earlier has waited for too long.

        Returns:
            The events, their rows, and the hopeless ones met on the way.
        """

    @abstractmethod
    def discard(self, event: Event) -> None:
        """Forget an event that waits here and was marked ended."""

    def _sharpen(self, entries: Iterable[Entry]) -> None:
        """Make the bound of the deadlines exact."""
        self.tightest_ns = NEVER_NS
        for _, event in entries:
            if event.deadline_ns < self.tightest_ns and not event.ended:
                self.tightest_ns = event.deadline_ns
