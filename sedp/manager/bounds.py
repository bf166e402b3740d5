"""How far the tuner may go with each knob of a stage: the operator's limits, or safe defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sedp.engine.graph import StagePlan
from sedp.errors import ConfigError

SLOTS_PER_CORE = 8  # enough for stages that mostly wait; a computing one is held by its cost
CONCURRENCY_MAX = 64
BATCH_ROWS_MAX = 65_536
QUEUE_ROWS_MAX = 1 << 20
WAIT_SHARE = 0.25  # of the target: more, and one stage's company costs everybody's time

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Inclusive ranges of a stage's knobs.

    Args:
        executors: those the tuner may choose; empty leaves runs where the config, or with `auto`
            the engine, has them.

    Raises:
        ConfigError: a range whose lower end is above its upper end, or below what is possible.
    """

    concurrency: Range = (1, SLOTS_PER_CORE)
    batch_rows: Range = (1, BATCH_ROWS_MAX)
    batch_wait_ns: Range = (0, 5_000_000)
    queue_rows: Range = (1, QUEUE_ROWS_MAX)
    executors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("concurrency", "batch_rows", "batch_wait_ns", "queue_rows"):
            low, high = getattr(self, name)
            least = 0 if name == "batch_wait_ns" else 1
            if not least <= low <= high:
                raise ConfigError(
                    f"bounds: {name} [{low}, {high}] must be ascending and ≥ {least}; "
                    "write the lower end first"
                )

    def clamp(self, plan: StagePlan) -> StagePlan:
        """The nearest plan within the bounds."""
        return StagePlan(
            _clamp(plan.concurrency, self.concurrency),
            _clamp(plan.batch_rows_max, self.batch_rows),
            _clamp(plan.batch_wait_ns, self.batch_wait_ns),
            _clamp(plan.queue_rows_max, self.queue_rows),
        )


def default_bounds(cores: float, target_ns: int) -> Bounds:
    """What is safe for any stage on so many cores with such a target (p99, > 0)."""
    slots = min(CONCURRENCY_MAX, max(2, math.ceil(cores) * SLOTS_PER_CORE))
    return Bounds(concurrency=(1, slots), batch_wait_ns=(0, round(target_ns * WAIT_SHARE)))


def _clamp(value: int, limits: Range) -> int:
    return min(max(value, limits[0]), limits[1])
