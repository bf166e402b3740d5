"""Breakwater's pool of credits, moved by the queues' delay once a round trip.

Delay is the age of the oldest event, summed over all queues that a request passes. Below 40 % of
the target the pool grows; above, it shrinks by 2 % of the excess, and by a half at most. What has
waited for twice that delay in a first queue is dropped.

What is adapted: the published system hands its credits out to clients, who do not send without
one; we have none that would ask, so the pool bounds the events inside and whoever comes beyond is
refused. The growth, a thousandth of the clients, becomes a thousandth of the pool, at least one;
the pool grows only while half of it is in use, as the number of clients bounds theirs. A round
trip is a tenth of the target, as the paper's targets are ten of them.

Source: Cho et al., "Overload Control for µs-Scale RPCs with Breakwater", OSDI 2020,
https://github.com/inhocho89/inhocho89.github.io (papers/osdi20overload.pdf)
"""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import Arrived, Outcome
from sedp.engine.stage_state import PipelineState

ALPHA = 0.001
BETA = 0.02
DELAY_SHARE = 0.4  # of the target
ROUND_SHARE = 0.1


class Breakwater:
    """Args: `target_ns` > 0, the latency to be kept."""

    def __init__(self, target_ns: int) -> None:
        self._delay_ns = int(target_ns * DELAY_SHARE)
        self._round_ns = int(target_ns * ROUND_SHARE)
        self._moved_ns = 0
        self._seen_ns = 0
        self.credits = 0.0

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        if now_ns - self._moved_ns >= self._round_ns or not self.credits:
            self._move(now_ns, pipeline)
        return Outcome.SHED if pipeline.in_flight >= int(self.credits) else None

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        return 2 * self._delay_ns

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None: ...

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None: ...

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        """The queues' delay by the one that is aimed at, as last seen; 0 when idle."""
        return 1000 * self._seen_ns // self._delay_ns if pipeline.in_flight else 0

    def _move(self, now_ns: int, pipeline: PipelineState) -> None:
        self._moved_ns = now_ns
        self._seen_ns = 0
        slots = 1  # the counterpart of the cores, which the pool never falls below
        for stage in pipeline.stages:
            slots = max(slots, stage.plan.concurrency)
            if stage.queue.rows:
                self._seen_ns += now_ns - stage.queue.head()[0]
        excess = (self._seen_ns - self._delay_ns) / self._delay_ns
        if excess >= 0:
            self.credits *= max(1 - BETA * excess, 0.5)
        elif pipeline.in_flight * 2 >= self.credits:
            self.credits += max(ALPHA * self.credits, 1.0)
        self.credits = max(float(slots), self.credits)
