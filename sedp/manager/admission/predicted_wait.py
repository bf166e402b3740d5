"""Admission from the predicted wait of the slowest stage: the default where there is a target.

A newcomer is refused when its forecast wait, corrected by what came of earlier ones, is more than
its share of the time left after the path's own service. So the backlog is never longer than can be
worked off in time, from the first event of an overload on: nothing has to be found by trial.

The share orders newcomers: the whole for the first level, less and less for the ranks behind it
(see `ranks`). Load then settles at the rank that just fits, and those above it see no
refusal. A greedy tenant has less, whatever its rank (see `tenants`). Size orders nobody: all are
taken for as large as large ones are, or small ones would fill the place that a large one needs.

Invariant: what was foretold is kept for each event inside, and for no other.
"""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import Arrived, Outcome
from sedp.engine.stage_state import PipelineState
from sedp.manager.admission.correction import Correction
from sedp.manager.admission.demand import Demand
from sedp.manager.admission.forecast import Forecast
from sedp.manager.admission.ranks import RankShares
from sedp.manager.admission.tenants import SHARE_MIN, TenantShares

BUDGET_MIN = 0.125  # of the time left, where the path alone takes nearly all of it, or more
LARGE_FADE = 1 - 1 / 32768  # a newcomer: sizes of one in some thousands are kept in mind
LARGE_SHARE = 0.25  # of the target at most is kept free for large ones
OVERLOAD = 0.95  # of what the slowest stage can do
TELLING_NEED = 0.5  # of the budget; who needed less says nothing about the limit
MISSED_USED = 1.25  # of its time at least, had an event been answered that was given up
TOLD = frozenset((Outcome.ANSWERED, Outcome.DEADLINE, Outcome.SHED))  # ends that time decided


class PredictedWait:
    """Args: `target_ns` > 0, the latency to be kept; `levels` ≥ 1 of priority."""

    def __init__(self, target_ns: int, levels: int) -> None:
        self._target_ns = target_ns
        self._shares = RankShares(levels)
        self._forecast = Forecast()
        self._is_stale = True
        self._correction = Correction(target_ns)
        self._demand = Demand()
        self._tenants = TenantShares()
        self._large_rows = 0.0
        self._inside: dict[int, float] = {}  # what was told of each event; see `_told_ns`

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        rows, forecast = newcomer.rows, self._forecast
        if self._is_stale:
            forecast.update(pipeline)
            self._is_stale = False
        is_real = newcomer.event >= 0  # else the question is whether anybody could pass
        if is_real:
            self._large_rows = max(rows, self._large_rows * LARGE_FADE)
            self._note_demand(now_ns, newcomer)
        left_ns = min(newcomer.due_ns - now_ns, self._target_ns)
        if left_ns <= 0:
            return Outcome.SHED
        need = self._need(rows, left_ns, pipeline.coming_rows)
        if (
            pipeline.in_flight or pipeline.coming_rows
        ):  # who is alone need not wait, and its end tells us something
            if need > self._share(newcomer):
                return Outcome.SHED
            if is_real and need > SHARE_MIN and self._tenants.count > 1:
                overloaded = self._demand.load > OVERLOAD
                if need > self._tenants.limit(newcomer.tenant, overloaded=overloaded):
                    return Outcome.SHED
        if is_real:
            self._inside[newcomer.event] = self._told_ns(rows, left_ns, need)
            self._tenants.entered(newcomer.tenant, rows)
            self._is_stale = True
        return None

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        """Who waited so long cannot be in time any more, and only makes others late."""
        return int(max(self._target_ns - self._forecast.service_ns, self._target_ns / 2))

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None:
        self._is_stale = True

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        self._is_stale = True
        told_ns = self._inside.pop(event.id, 0.0)
        if outcome in TOLD:
            used = (now_ns - event.arrived_ns) / told_ns if told_ns else 0.0
            if told_ns and outcome is not Outcome.ANSWERED:
                used = max(used, MISSED_USED)
            self._correction.observe(event.arrived_ns, now_ns, used)

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        """1000 is where newcomers of the last level are refused, whoever their user is."""
        if not pipeline.in_flight:
            return 0
        self._forecast.update(pipeline)
        self._is_stale = False
        last_share = self._shares.share(self._shares.levels, 0)
        return int(1000 * self._need(1, self._target_ns) / last_share)

    def _note_demand(self, now_ns: int, newcomer: Arrived) -> None:
        demand, work_ns = self._demand, newcomer.rows * self._forecast.row_ns
        if demand.observe(now_ns, work_ns, is_first=newcomer.level == 1):
            self._shares.follow(demand.load, demand.first_load)

    def _share(self, newcomer: Arrived) -> float:
        """Of the time it may wait. Who takes longer than room is kept for has the whole of the
        little it has left, whatever its rank: a part of that is less than any backlog leaves."""
        if self._forecast.alone_ns(newcomer.rows) > self._large_ns():
            return 1.0
        return self._shares.share(newcomer.level, newcomer.user)

    def _told_ns(self, rows: int, left_ns: int, need: float) -> float:
        """The time an event has, less what was kept free for a larger one; 0 far from the limit."""
        if need <= TELLING_NEED:
            return 0.0
        kept_ns = max(self._large_ns() - self._service_ns(rows), 0.0)
        return max(left_ns - kept_ns, left_ns * BUDGET_MIN)

    def _need(self, rows: int, left_ns: int, coming_rows: int = 0) -> float:
        """The wait of a newcomer, by what it may wait for of its time left."""
        forecast, factor = self._forecast, self._correction.factor
        service_ns = max(self._service_ns(rows), self._large_ns())
        budget_ns = max(left_ns - service_ns * factor, left_ns * BUDGET_MIN)
        wait_ns = forecast.wait_ns + coming_rows * forecast.row_ns
        return wait_ns * factor / budget_ns

    def _service_ns(self, rows: int) -> float:
        """What the path takes for a newcomer when nothing waits."""
        return max(self._forecast.service_ns, self._forecast.alone_ns(rows))

    def _large_ns(self) -> float:
        """The same for a large one, as far as room is kept for it."""
        usual_ns = self._forecast.service_ns + self._target_ns * LARGE_SHARE
        return min(self._forecast.alone_ns(self._large_rows), usual_ns)
