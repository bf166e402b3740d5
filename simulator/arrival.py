"""An arrival: one request on its way to the simulated door."""

from __future__ import annotations

from typing import final

import msgspec

from sedp.columns import Batch
from sedp.engine.events import NEVER_NS


@final
class Arrival(msgspec.Struct, frozen=True, gc=False):
    """Someone asks; traffic is a lazy, time-ordered iterable of these.

    Args:
        time_ns: virtual time, ≥ that of the arrival before.
        pipeline: its number in the graph.
        rows: item rows, ≥ 1.
        request: the columns, needed only where stages are really run.
        deadline_ns: absolute; an answer after it is worthless.
        leaves_ns: absolute; when the caller loses patience and cancels.
        due_ns: absolute; when the pipeline's latency target is used up.
        level: its priority, 1 is the highest.
        user: 0 to 127, a hash of the user.
        tenant: whose it is.
        retries: tries of the same caller before this one.
        first_ns: when the first of them was; without meaning if there was none.
    """

    time_ns: int
    pipeline: int
    rows: int
    request: Batch | None = None
    deadline_ns: int = NEVER_NS
    leaves_ns: int = NEVER_NS
    due_ns: int = NEVER_NS
    level: int = 1
    user: int = 0
    tenant: int = 0
    retries: int = 0
    first_ns: int = 0

    @property
    def began_ns(self) -> int:
        """When this caller first asked."""
        return self.first_ns if self.retries else self.time_ns

    def again_at(self, time_ns: int) -> Arrival:
        """The same caller asks again, and gives it as much time."""
        return msgspec.structs.replace(
            self,
            time_ns=time_ns,
            deadline_ns=self._moved(self.deadline_ns, time_ns),
            leaves_ns=self._moved(self.leaves_ns, time_ns),
            due_ns=self._moved(self.due_ns, time_ns),
            retries=self.retries + 1,
            first_ns=self.began_ns,
        )

    def _moved(self, limit_ns: int, time_ns: int) -> int:
        return limit_ns if limit_ns == NEVER_NS else limit_ns + time_ns - self.time_ns
