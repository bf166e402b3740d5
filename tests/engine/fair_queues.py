"""Events and queues for the tests of the fair queue."""

from __future__ import annotations

from sedp.engine.bounded_queue import BoundedQueue
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived
from sedp.engine.fair_queue import FairQueue
from sedp.engine.fifo_queue import FifoQueue


def new_event(id_: int, tenant: int = 0, rows: int = 1, deadline_ns: int = NEVER_NS) -> Event:
    return Event(Arrived(id_, 0, rows, deadline_ns, tenant=tenant), 0, 1)


def new_queue(rows_max: int = 1000) -> FairQueue:
    return FairQueue(FifoQueue(rows_max))


def take(queue: BoundedQueue, limit_rows: int) -> list[int]:
    """The events taken, by number."""
    return [event.id for event in queue.take(limit_rows, 0, 0)[0]]
