"""SLO goodput: the highest Poisson rate at which the 99th percentile of latency keeps a limit.

Found by halving an interval in short steps, several servers in turn so that a slow spell of the
machine hits them all, then confirmed by a longer step; a rate that does not hold there is lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIMIT_S = 0.020
PERCENTILE = 99
LOWEST_SHARE = 0.2  # of the greatest rate, where the search begins
CONFIRMS_MAX = 6
STEP_BACK = 0.95

Offer = Callable[[float, float], NDArray[np.float64]]  # rate, seconds → latencies


@dataclass(slots=True)
class Search:
    """One server's interval.

    Args:
        offer: sends at a rate for some seconds.
        low: a rate that holds, or is so low that nobody cares.
        high: one that is too much.
    """

    offer: Offer
    low: float
    high: float

    @classmethod
    def below(cls, rate_max: float, offer: Offer) -> Search:
        """Up to the greatest rate of a closed loop."""
        return cls(offer, rate_max * LOWEST_SHARE, rate_max)

    def step(self, seconds: float) -> None:
        """Halve the interval."""
        middle = (self.low + self.high) / 2
        if keeps_limit(self.offer(middle, seconds)):
            self.low = middle
        else:
            self.high = middle

    def confirm(self, seconds: float) -> float:
        """The rate found, lowered until it holds for longer; 0 when it never does."""
        rate = self.low
        for _ in range(CONFIRMS_MAX):
            if keeps_limit(self.offer(rate, seconds)):
                return rate
            rate *= STEP_BACK
        return 0.0


def keeps_limit(latencies: NDArray[np.float64]) -> bool:
    """Whether the percentile is within the limit; infinite latencies count."""
    return float(np.percentile(latencies, PERCENTILE, method="inverted_cdf")) <= LIMIT_S


def find_goodputs(searches: Sequence[Search], steps: int, seconds: float) -> list[float]:
    """The goodput of every server, in requests a second.

    Args:
        steps: halvings, each of `seconds`; confirmed by thrice as long.
    """
    for _ in range(steps):
        for search in searches:
            search.step(seconds)
    return [search.confirm(3 * seconds) for search in searches]
