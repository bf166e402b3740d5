"""An arrival: one request on its way to the simulated door."""

from __future__ import annotations

import msgspec

from sedp.columns import Batch
from sedp.engine.events import NEVER_NS


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """Someone asks; traffic is a lazy, time-ordered iterable of these.

    Args:
        time_ns: virtual time, ≥ that of the arrival before.
        pipeline: its number in the graph.
        rows: item rows, ≥ 1.
        request: the columns, needed only where stages are really run.
        deadline_ns: absolute; an answer after it is worthless.
        leaves_ns: absolute; when the caller loses patience and cancels.
    """

    time_ns: int
    pipeline: int
    rows: int
    request: Batch | None = None
    deadline_ns: int = NEVER_NS
    leaves_ns: int = NEVER_NS
