"""SLO goodput: the highest Poisson rate at which the 99th percentile of latency keeps a limit.

A step at some rate tells little when it fails: one stall of the machine is enough. So no step
decides anything alone. Each only shifts a *belief*, how likely each rate is to be the greatest that
holds, and the next is made where half of the belief is below (Horstein's bisection with a noisy
answer): a rate that a stall condemned is asked again as soon as others speak for it. All servers
are asked the same number of steps, in turn, so that a slow spell hits them all. What was found is
confirmed by longer steps, most of which must hold; it is lowered until they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.progress import tell

LIMIT_S = 0.020
PERCENTILE = 99
LOWEST_SHARE = 0.2  # of the greatest rate: nobody cares for less
RATES = 161  # that are weighed, 1 % from one to the next
STALLED = 0.3  # how often a rate that holds fails for a reason of the machine's: rather too often
LUCKY = 0.02  # how often one that is too much holds for a step
CONFIRM_TIMES = 2  # as long as a step
CONFIRMS_MAX = 8
STEP_BACK = 0.97

Offer = Callable[[float, float], NDArray[np.float64]]  # rate, seconds → latencies


@dataclass(slots=True)
class Search:
    """What is believed of one server.

    Args:
        offer: sends at a rate for some seconds.
        rates: float64[n], requests a second, ascending.
        belief: float64[n], sums to 1.
    """

    offer: Offer
    rates: NDArray[np.float64]
    belief: NDArray[np.float64]

    @classmethod
    def below(cls, rate_max: float, offer: Offer) -> Search:
        """Up to the greatest rate of a closed loop; all rates are as likely."""
        rates = np.geomspace(LOWEST_SHARE * rate_max, rate_max, RATES)
        return cls(offer, rates, np.full(RATES, 1 / RATES))

    @property
    def middle(self) -> float:
        """The greatest rate that holds, as far as is known: half of the belief is below."""
        place = int(np.searchsorted(np.cumsum(self.belief), 0.5))
        return float(self.rates[min(place, RATES - 1)])

    def step(self, seconds: float) -> None:
        """Ask at the middle, and believe a little more of what came."""
        rate = self.middle
        able = self.rates >= rate
        if keeps_limit(self.offer(rate, seconds)):
            self.belief *= np.where(able, 1 - STALLED, LUCKY)
        else:
            self.belief *= np.where(able, STALLED, 1 - LUCKY)
        self.belief /= self.belief.sum()

    def confirm(self, seconds: float) -> float:
        """The rate found, lowered until it holds for longer; 0 when it never does."""
        rate = self.middle
        for _ in range(CONFIRMS_MAX):
            if self._holds(rate, seconds):
                return rate
            rate *= STEP_BACK
        return 0.0

    def _holds(self, rate: float, seconds: float) -> bool:
        """Two of at most three steps."""
        held = [keeps_limit(self.offer(rate, seconds)) for _ in range(2)]
        return keeps_limit(self.offer(rate, seconds)) if any(held) and not all(held) else all(held)


def keeps_limit(latencies: NDArray[np.float64]) -> bool:
    """Whether the percentile is within the limit; infinite latencies count."""
    return float(np.percentile(latencies, PERCENTILE, method="inverted_cdf")) <= LIMIT_S


def find_goodputs(searches: Sequence[Search], steps: int, seconds: float) -> list[float]:
    """The goodput of every server, in requests a second.

    Args:
        steps: each of `seconds`; confirmed by twice as long.
    """
    for number in range(steps):
        for search in searches:
            search.step(seconds)
        found = ", ".join(f"{search.middle:,.0f}" for search in searches)
        tell(f"goodput, step {number + 1} of {steps}: {found} req/s")
    return [search.confirm(CONFIRM_TIMES * seconds) for search in searches]
