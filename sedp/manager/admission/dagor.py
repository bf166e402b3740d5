"""DAGOR, WeChat's: a level of priority and user up to which newcomers enter, moved once a window.

Each newcomer has a rank, its business priority times 128 plus its user's. Was the mean wait of the
last window above 20 ms, the ranks let in shrink until 5 % fewer events would have come in; else
they grow until 1 % more would. What is adapted: an event waits in the queues of several stages, so
the waits of a window are shared out over the events that ended in it; the oldest of a batch stands
for all of it; and where nobody says who the user is, the event's number stands in.

Source: Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018,
https://arxiv.org/abs/1806.04075
"""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived, Outcome
from sedp.engine.stage_state import PipelineState

USERS = 128
WAIT_NS = 20_000_000
WINDOW_NS = 1_000_000_000
WINDOW_EVENTS = 2000
ALPHA = 0.05
BETA = 0.01


class Dagor:
    """Args: `levels` ≥ 1 of priority. The first rank is always let in."""

    def __init__(self, levels: int) -> None:
        self._last_rank = levels * USERS - 1
        self.rank = self._last_rank  # the last one let in
        self._began_ns = 0
        self._mean_wait_ns = 0
        self._clear()

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        user = newcomer.user or newcomer.event % USERS
        rank = min((newcomer.level - 1) * USERS + user, self._last_rank)
        if newcomer.event < 0:  # only asked whether anybody could pass
            return None
        if now_ns - self._began_ns >= WINDOW_NS or self._arrived == WINDOW_EVENTS:
            self._close(now_ns)
        self._arrived += 1
        self._arrived_of[rank] += 1
        return Outcome.SHED if rank > self.rank else None

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        return NEVER_NS

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None:
        self._wait_ns += wait_ns * events

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        self._ended += 1

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        """The mean wait of the last window by the one that counts as overload; 0 when idle."""
        return 1000 * self._mean_wait_ns // WAIT_NS if pipeline.in_flight else 0

    def _close(self, now_ns: int) -> None:
        """A window is over: move the rank by what came in it."""
        self._mean_wait_ns = self._wait_ns // max(self._ended, 1)
        admitted = sum(self._arrived_of[: self.rank + 1])
        if self._mean_wait_ns > WAIT_NS:
            wanted = admitted * (1 - ALPHA)
            while admitted > wanted and self.rank > 0:
                admitted -= self._arrived_of[self.rank]
                self.rank -= 1
        else:
            wanted = admitted * (1 + BETA)
            while admitted <= wanted and self.rank < self._last_rank:
                self.rank += 1
                admitted += self._arrived_of[self.rank]
        self._began_ns = now_ns
        self._clear()

    def _clear(self) -> None:
        self._arrived = self._ended = self._wait_ns = 0
        self._arrived_of = [0] * (self._last_rank + 1)
