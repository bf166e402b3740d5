"""When a batch closes: it is full, it has waited, or a deadline inside leaves no more time."""

from __future__ import annotations

from sedp.engine.bounded_queue import BoundedQueue
from sedp.engine.graph import StagePlan


def batch_due_ns(queue: BoundedQueue, plan: StagePlan, path_floor_ns: int) -> int:
    """The moment from which the waiting rows must not wait for company any longer.

    Company that finds no room in the queue will not come.

    Args:
        queue: not empty.
        path_floor_ns: least time from the start of this stage to the answer.
    """
    if plan.batch_wait_ns == 0 or queue.rows >= plan.batch_rows_max:
        return 0
    enqueued_ns, head = queue.head()
    if queue.rows + head.rows > queue.rows_max:
        return 0
    return min(enqueued_ns + plan.batch_wait_ns, queue.tightest_ns - path_floor_ns)


class ServiceFloor:
    """A cautious lower bound of a stage's service time, for dropping what cannot be in time.

    Falls at once to a faster run and rises by 1/16 of the gap, so it stays near the best recent
    runs and a slow spell does not condemn events that could be served. Each event it condemns
    lowers it by 1/8: an estimate that refuses everybody would never see a run to correct it.
    """

    __slots__ = ("ns",)

    def __init__(self) -> None:
        self.ns = 0

    def observe(self, service_ns: int) -> None:
        if self.ns == 0 or service_ns < self.ns:
            self.ns = service_ns
        else:
            self.ns += (service_ns - self.ns) >> 4

    def doubt(self) -> None:
        self.ns -= (self.ns + 7) >> 3
