"""Admission by a limit on events inside, which a law moves: AIMD, Vegas, Gradient2.

From Netflix's concurrency-limits, its `SimpleLimiter`: a newcomer enters while fewer are inside
than the limit says; an event that ends gives the law a sample. What is adapted: a law is told how
many were inside when the latest newcomer asked, not when the sampled one did, since an event
carries nothing of ours.

Source: https://github.com/Netflix/concurrency-limits
"""

from __future__ import annotations

from typing import Protocol

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived, Outcome
from sedp.engine.stage_state import PipelineState

DROPS = frozenset((Outcome.DEADLINE, Outcome.SHED))  # let in, but too late


class Law(Protocol):
    """How a limit follows latency."""

    limit: float

    def sample(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        """An event ended after `latency_ns` > 0; `dropped` when time ran out for it."""


class ConcurrencyLimit:
    """Admits while fewer are inside than `law.limit`."""

    def __init__(self, law: Law) -> None:
        self.law = law
        self._in_flight = 0

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        self._in_flight = pipeline.in_flight + 1
        return Outcome.SHED if pipeline.in_flight >= int(self.law.limit) else None

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        return NEVER_NS

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None: ...

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        dropped = outcome in DROPS
        if dropped or outcome is Outcome.ANSWERED:
            latency_ns = max(now_ns - event.arrived_ns, 1)
            self.law.sample(latency_ns, self._in_flight, dropped=dropped)

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        return 1000 * pipeline.in_flight // max(int(self.law.limit), 1)
