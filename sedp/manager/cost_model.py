"""What a run of a stage costs, learned while serving: `fixed + row · rows` nanoseconds.

Each window gives one point, mean rows and mean service time of its runs, freed of the stretch that
runs suffer when more are under way than there are cores. The points' weights decay, so the fit
follows a stage whose cost drifts. As long as all batches had one size, the split between fixed and
row cost cannot be known; a weak prior then says that half of the usual run is fixed, which makes
other sizes worth a try, and the first try settles it. What it settled then takes the prior's place.

Invariant: both costs are ≥ 0, and one of them is > 0 once anything was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sedp.manager.observation import StageSeen, interpolate

DECAY = 0.8  # of a point's weight per window: half is forgotten in 3 windows
FIXED_SHARE = 0.5  # of the usual run, unless the points say otherwise
SHARE_MIN = 0.15  # once sizes are alike again: larger batches stay worth a try
PRIOR_WEIGHT = 0.02  # beside all points' weight of at most 10: bends nothing that was measured
SIZES_DIFFER = 0.01  # variance of the points' rows over their mean squared: a tenth to each side
SURPRISE = 0.5  # relative error from which a point loses weight, in proportion
RUNS_TRUSTED = 8  # in a window for a point of full weight
POINTS_TRUSTED = 3.0  # weight from which on a point can be a surprise at all


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, undisturbed.

    Args:
        fixed_ns: whatever is in it.
        row_ns: more for each row.
        spread: how far above the median the longest sixth of runs begins, as a share of it.
        rows: of the usual run, > 0.
    """

    fixed_ns: float
    row_ns: float
    spread: float = 0.0
    rows: float = 1.0

    def service_ns(self, rows: float) -> float:
        return self.fixed_ns + self.row_ns * rows


class CostModel:
    """Decayed least squares over the windows of one stage.

    Args:
        cost: to start from, as a plan file remembers it.
    """

    def __init__(self, cost: Cost | None = None) -> None:
        self._cost = cost
        self._share = cost.fixed_ns / cost.service_ns(cost.rows) if cost else FIXED_SHARE
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    @property
    def cost(self) -> Cost | None:
        """`None` until a run was seen."""
        return self._cost

    def learn(self, stage: StageSeen, stretch: float) -> None:
        """Take in a window.

        Args:
            stretch: ≥ 1; how much longer runs took than they would have alone.
        """
        runs = stage.service_ns.count
        if not runs or not stage.batches or not stage.batch_rows.total:
            return
        rows = stage.batch_rows.total / stage.batches
        service_ns = stage.service_ns.total / runs / stretch
        self._add(rows, service_ns, self._trust(rows, service_ns) * min(1.0, runs / RUNS_TRUSTED))
        self._cost = self._fit(_spread(stage))

    def _trust(self, rows: float, service_ns: float) -> float:
        """Less for a point far from what the model expects: one odd window must not turn it."""
        if self._cost is None or self._weight < POINTS_TRUSTED:
            return 1.0
        expected_ns = self._cost.service_ns(rows)
        error = abs(service_ns - expected_ns) / max(expected_ns, 1.0)
        return min(1.0, SURPRISE / error) if error else 1.0

    def _add(self, x: float, y: float, weight: float) -> None:
        for name, value in (("_weight", 1.0), ("_x", x), ("_y", y), ("_xx", x * x), ("_xy", x * y)):
            setattr(self, name, getattr(self, name) * DECAY + weight * value)

    def _fit(self, spread: float) -> Cost:
        rows, mean_ns = self._x / self._weight, self._y / self._weight
        fixed_ns, row_ns = self._solve(self._share * mean_ns)
        if row_ns < 0 or fixed_ns < 0:  # noise, or sizes too alike: the split stays as it was
            fixed_ns, row_ns = self._share * mean_ns, (1 - self._share) * mean_ns / rows
        elif self._xx / self._weight - rows * rows > SIZES_DIFFER * rows * rows:
            self._share = max(SHARE_MIN, fixed_ns / (fixed_ns + row_ns * rows))
        if self._cost is not None:
            spread = self._cost.spread * DECAY + spread * (1 - DECAY)
        return Cost(fixed_ns, row_ns, spread, rows)

    def _solve(self, prior_ns: float) -> tuple[float, float]:
        """Intercept and slope, with the prior as one more light point at no rows."""
        weight, x, xx, xy = self._weight + PRIOR_WEIGHT, self._x, self._xx, self._xy
        y = self._y + PRIOR_WEIGHT * prior_ns
        row_ns = (weight * xy - x * y) / (weight * xx - x * x)
        return (y - row_ns * x) / weight, row_ns


def _spread(stage: StageSeen) -> float:
    median_ns = max(1, interpolate(stage.service_ns, 0.5))
    return interpolate(stage.service_ns, 0.84) / median_ns - 1  # a sigma, were it log-normal


def stretch(running_mean: float, slots: int, cores: float) -> float:
    """How much longer runs take because they share the cores; ≥ 1.

    Runs under way are taken as binomial: all slots busy when the mean says so, a crowd of
    independent ones when it is far below. Only what is under way beyond the cores waits.

    Args:
        running_mean: runs under way on average, over all stages.
        slots: runs that may be under way at once, ≥ 1.
    """
    busy = min(1.0, running_mean / slots)
    if busy >= 1 or slots <= cores:
        return max(1.0, running_mean / cores)
    at_work = cores
    for runs in range(math.ceil(cores)):
        chance = math.comb(slots, runs) * busy**runs * (1 - busy) ** (slots - runs)
        at_work -= (cores - runs) * chance
    return max(1.0, running_mean / at_work) if at_work > 0 else 1.0
