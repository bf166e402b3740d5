"""CoDel as in folly: nobody is refused at the door; while even the least wait is long, old ones go.

Overloaded is a first queue whose least wait of an interval was above 5 ms; what has then waited for
more than twice that is dropped when its turn comes. What is adapted: the wait of the oldest event
is looked at once a batch, not that of each event.

Source: `folly/executors/Codel.cpp` of https://github.com/facebook/folly; "Fail at Scale",
ACM Queue 2015.
"""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived, Outcome
from sedp.engine.stage_state import PipelineState

TARGET_NS = 5_000_000
INTERVAL_NS = 100_000_000
SLOUGH_NS = 2 * TARGET_NS


class Codel:
    """No arguments: the published times do not follow a pipeline's target."""

    def __init__(self) -> None:
        self._least_ns = 0
        self._interval_end_ns = 0
        self._resets = True
        self._is_overloaded = False

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        return None

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        if now_ns > self._interval_end_ns and not self._resets:
            self._resets = True
            self._interval_end_ns = now_ns + INTERVAL_NS
            self._is_overloaded = self._least_ns > TARGET_NS
        if self._resets:  # the first of an interval is never dropped
            self._resets = False
            self._least_ns = oldest_wait_ns
            return NEVER_NS
        self._least_ns = min(self._least_ns, oldest_wait_ns)
        return SLOUGH_NS if self._is_overloaded else NEVER_NS

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None: ...

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None: ...

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        """The least wait by that from which events are dropped; 0 when idle."""
        return 1000 * self._least_ns // SLOUGH_NS if pipeline.in_flight else 0
