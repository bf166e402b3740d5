"""Whether something grows with the requests: a line through the figures, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t for 95 % on both sides, by degrees of freedom; beyond, that of the normal.
T_95 = {
    1: 12.71,
    2: 4.30,
    3: 3.18,
    4: 2.78,
    5: 2.57,
    6: 2.45,
    8: 2.31,
    10: 2.23,
    15: 2.13,
    30: 2.04,
}


@dataclass(frozen=True, slots=True)
class Trend:
    """Growth by one more of what the figures are taken over.

    Args:
        low, high: the slope's bounds, each exceeded with a chance of 2.5 %.
    """

    slope: float
    low: float
    high: float


def fit(xs: Sequence[float], ys: Sequence[float]) -> Trend:
    """Least squares through at least three points."""
    count = len(xs)
    x_mean, y_mean = sum(xs) / count, sum(ys) / count
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    missed = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
    error = math.sqrt(missed / (count - 2) / spread)
    t = next((t for degrees, t in reversed(T_95.items()) if degrees <= count - 2), 1.96)
    return Trend(slope, slope - t * error, slope + t * error)
