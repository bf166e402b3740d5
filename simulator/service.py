"""How long a run of a stage takes in virtual time.

The port is one function, so that a table of measured times, a fitted model or a plain formula can
stand behind it. Dice come by argument: same seed, same run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class ServiceModel(Protocol):
    """The port."""

    def __call__(self, stage: int, events: int, rows: int, rng: np.random.Generator) -> int:
        """Nanoseconds, ≥ 0, that `stage` needs for a batch of `events` events of `rows` rows."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a run of one stage costs.

    Args:
        fixed_ns: a run, whatever is in it.
        row_ns: more for each row.
        event_ns: more for each event.
        jitter: spread of the whole as the sigma of a log-normal factor of median 1; 0 is none.
    """

    fixed_ns: int
    row_ns: float = 0.0
    event_ns: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class LinearService:
    """Times that grow with the batch; `costs[stage]` for each stage of the graph."""

    costs: tuple[StageCost, ...]

    def __call__(self, stage: int, events: int, rows: int, rng: np.random.Generator) -> int:
        cost = self.costs[stage]
        service_ns = cost.fixed_ns + cost.row_ns * rows + cost.event_ns * events
        if cost.jitter:
            service_ns *= rng.lognormal(0.0, cost.jitter)
        return int(service_ns)
