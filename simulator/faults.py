"""What may go wrong in a simulated run, on purpose.

Fault model: a stage is slow for a while (a neighbour on the box, a cold cache); a run raises
(a poisonous event, a stage that is broken for a while); a caller leaves before the answer. Runs
still end: a stage that hangs for ever is a very slow one. Not modelled: wrong results, lost
stimuli, a clock that goes backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from sedp.simulator.arrival import Arrival


@dataclass(frozen=True, slots=True)
class SlowSpell:
    """Runs of `stage` that start in `[from_ns, until_ns)` take `factor` times as long."""

    stage: int
    factor: float
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one simulation.

    Args:
        slow: slow spells; those that overlap multiply.
        fails: `(now_ns, stage, events) -> bool`, whether a run that starts now will raise. Must be
            pure, for a failed batch is run again event by event.
    """

    slow: tuple[SlowSpell, ...] = ()
    fails: Callable[[int, int, tuple[int, ...]], bool] | None = None

    def slowed_ns(self, now_ns: int, stage: int, service_ns: int) -> int:
        """The service time of a run of `stage` that starts now."""
        for spell in self.slow:
            if spell.stage == stage and spell.from_ns <= now_ns < spell.until_ns:
                service_ns = int(service_ns * spell.factor)
        return service_ns


def leave_early(
    arrivals: Iterable[Arrival], share: float, patience_ns: int, rng: np.random.Generator
) -> Iterator[Arrival]:
    """Make a random `share` (0 to 1) of the callers leave within `patience_ns` of their arrival."""
    for arrival in arrivals:
        if rng.random() < share:
            leaves_ns = arrival.time_ns + int(rng.integers(patience_ns))
            yield msgspec.structs.replace(arrival, leaves_ns=leaves_ns)
        else:
            yield arrival
