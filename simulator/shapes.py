"""Shapes of load: when how many arrive, as a curve of the rate or as a record drawn anew.

All return ascending int64 nanoseconds and draw in numpy, so a million arrivals cost a moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A rate that changes with time, linear between its points; two at one time are a jump.

    Args:
        seconds: of the points, ascending from 0.
        rates: arrivals a second at the points, ≥ 0.
    """

    seconds: tuple[float, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        assert len(self.seconds) == len(self.rates) >= 2, "a curve needs a rate for each point"
        assert self.seconds[0] == 0, "a curve begins at 0 s"
        assert list(self.seconds) == sorted(self.seconds), "a curve's points follow each other"
        assert min(self.rates) >= 0, "a rate cannot be negative"

    @property
    def end_ns(self) -> int:
        return int(self.seconds[-1] * SECOND_NS)

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """int64[n]: times of independent callers at these rates."""
        widths, expected = self._expected()
        passed = np.concatenate([[0.0], np.cumsum(expected)])
        wanted = np.sort(rng.uniform(0, passed[-1], rng.poisson(passed[-1])))
        segment = np.searchsorted(passed, wanted, side="right") - 1
        segment = np.minimum(segment, len(expected) - 1)
        rates = np.array(self.rates)
        first, slope = rates[segment], np.diff(rates)[segment] / widths[segment]
        count = wanted - passed[segment]
        # The time t at which first·t + slope·t²/2 has grown to count, in its stable form.
        root = np.sqrt(np.maximum(first**2 + 2 * slope * count, 0.0))
        after = np.divide(2 * count, first + root, out=np.zeros_like(count), where=count > 0)
        times_s = np.array(self.seconds, np.float64)[segment] + after
        return np.asarray(times_s * SECOND_NS, np.int64)

    def _expected(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Width in seconds and expected arrivals of each segment; a jump has neither."""
        widths, rates = np.diff(self.seconds), np.array(self.rates)
        return np.where(widths > 0, widths, 1.0), widths * (rates[:-1] + rates[1:]) / 2


def step(low: float, high: float, before_s: float, for_s: float, after_s: float) -> RateCurve:
    """From one rate to another at once, and back."""
    up, down = before_s, before_s + for_s
    return RateCurve((0, up, up, down, down, down + after_s), (low, low, high, high, low, low))


def ramp(low: float, high: float, for_s: float) -> RateCurve:
    """From one rate to another little by little."""
    return RateCurve((0, for_s), (low, high))


def spike(low: float, high: float, before_s: float, for_s: float, after_s: float) -> RateCurve:
    """Up to a point and down again, both in a straight line."""
    top, end = before_s + for_s / 2, before_s + for_s
    return RateCurve((0, before_s, top, end, end + after_s), (low, low, high, low, low))


def burst_times_ns(
    rate: float, count: int, rng: np.random.Generator, *, variation: float = 4.0
) -> NDArray[np.int64]:
    """int64[count]: bursts and pauses, as gaps of a Gamma distribution.

    Args:
        rate: arrivals a second, on average.
        variation: standard deviation of the gaps by their mean, > 0; 1 is Poisson.
    """
    shape = variation**-2
    gaps_ns = rng.gamma(shape, SECOND_NS / (rate * shape), count)
    return np.cumsum(gaps_ns).astype(np.int64)


def redrawn_times_ns(
    recorded_s: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    speed: float,
    rate: float,
    resolution_s: float,
) -> NDArray[np.int64]:
    """int64[n]: a record's ups and downs at another pace and another average rate.

    Each recorded arrival stands for as many new ones as the rate asks for, whole by chance,
    spread over the time within which the record cannot tell arrivals apart.

    Args:
        recorded_s: float64[n], ascending.
        speed: how many times as fast.
        rate: arrivals a second on average, after the speeding up.
        resolution_s: of the recorded times, before the speeding up.
    """
    length_s = (recorded_s[-1] - recorded_s[0] + resolution_s) / speed
    factor = rate * length_s / len(recorded_s)
    copies = np.floor(factor + rng.random(len(recorded_s))).astype(np.int64)
    times_s = np.repeat(recorded_s - recorded_s[0], copies)
    times_s = (times_s + rng.uniform(0, resolution_s, len(times_s))) / speed
    return np.sort((times_s * SECOND_NS).astype(np.int64))
