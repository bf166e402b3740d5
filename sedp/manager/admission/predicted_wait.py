"""Admission from the predicted wait of the slowest stage: the default where there is a target.

A newcomer is refused when its forecast wait, corrected by what came of earlier ones, is more than
its share of the time left after the path's own service. So the backlog is never longer than can be
worked off in time, from the first event of an overload on: nothing has to be found by trial.

The share orders newcomers: the whole for the first level, less and less for the ranks behind it
(see `ranks`). Load then settles at the rank that just fits, and those above it see no
refusal. A greedy tenant has less, whatever its rank (see `tenants`); where tenants are isolated it
may use nothing but a pipeline that is nearly idle: the others then hardly see its excess. Size
orders nobody: all are taken for as large as large ones are, or small ones would fill the place that
a large one needs.

Invariant: what was foretold is kept for each event inside, and for no other.
"""

from __future__ import annotations

import math

from sedp.engine.event import Event
from sedp.engine.events import Arrived, Outcome
from sedp.engine.stage_state import PipelineState
from sedp.manager.admission.correction import Correction
from sedp.manager.admission.demand import Demand
from sedp.manager.admission.forecast import Forecast
from sedp.manager.admission.ranks import RankShares
from sedp.manager.admission.strain import Strain
from sedp.manager.admission.tenants import SHARE_MIN, TenantShares

BUDGET_MIN = 0.125  # of the time left, where the path alone takes nearly all of it, or more
LARGE_FADE = 1 - 1 / 32768  # a newcomer: sizes of one in some thousands are kept in mind
LARGE_SHARE = 0.25  # of the target at most is kept free for large ones
IDLE = 0.7  # of a usual run of the path: as much work inside moves the others' tail by a fifth
OVERLOAD = 0.95  # of what the slowest stage can do
HOPELESS = math.inf  # the need of who has no time left
TELLING_NEED = 0.5  # of the budget; who needed less says nothing about the limit
MISSED_USED = 1.25  # of its time at least, had an event been answered that was given up
TOLD = frozenset((Outcome.ANSWERED, Outcome.DEADLINE, Outcome.SHED))  # ends that time decided


class PredictedWait:
    """Args: `target_ns` > 0, the latency to be kept; `levels` ≥ 1 of priority; `isolates` the
    latency of tenants from a greedy one, and not their target alone."""

    def __init__(self, target_ns: int, levels: int, *, isolates: bool = False) -> None:
        self._target_ns = target_ns
        self._isolates = isolates
        self._shares = RankShares(levels)
        self._forecast = Forecast()
        self._is_stale = True
        self._left_ns = target_ns  # of the last newcomer
        self._strain = Strain(target_ns)
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
        self._left_ns = left_ns = min(newcomer.due_ns - now_ns, self._target_ns)
        need = self._need(rows, left_ns, pipeline.coming_rows) if left_ns > 0 else HOPELESS
        is_refused = self._is_refused(newcomer, need, pipeline)
        if is_real or is_refused:
            self._strain.observe(now_ns, need / self._last_share())
        if is_refused:
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
        """1000 is where newcomers of the last level are refused, whoever their user is.

        It is that of a newcomer with as much time left as the last one had; and no less than what
        strain there was of late, for which the queues may give no reason now.
        """
        if not pipeline.in_flight:
            return 0
        self._forecast.update(pipeline)
        self._is_stale = False
        left_ns = max(self._left_ns, self._target_ns * BUDGET_MIN)
        return int(1000 * max(self._need(1, left_ns) / self._last_share(), self._strain.level))

    def _is_refused(self, newcomer: Arrived, need: float, pipeline: PipelineState) -> bool:
        if need >= HOPELESS:
            return True
        if not (pipeline.in_flight or pipeline.coming_rows):
            return False  # who is alone need not wait, and its end tells us something
        if need > self._share(newcomer):
            return True
        return newcomer.event >= 0 and self._is_excess(newcomer.tenant, need)

    def _is_excess(self, tenant: int, need: float) -> bool:
        """Whether one more of a tenant's events is at the others' expense."""
        tenants, forecast = self._tenants, self._forecast
        if tenants.count < 2:
            return False
        is_busy = self._isolates and forecast.backlog_ns > IDLE * forecast.service_ns
        if is_busy and tenants.is_greedy(tenant):
            return True
        if need <= SHARE_MIN:
            return False
        return need > tenants.limit(tenant, overloaded=self._demand.load > OVERLOAD)

    def _last_share(self) -> float:
        return self._shares.share(self._shares.levels, 0)

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

    def _need(self, rows: int, left_ns: float, coming_rows: int = 0) -> float:
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
