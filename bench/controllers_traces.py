"""The loads that controllers are compared on.

Steps, a spike, bursts, callers who ask again, rare large requests, and a tenant that asks for ten.

Recorded traces come from a folder that the user names; without it, bursts of the same kind are
drawn. All are scaled to the capacity of the simulated server.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from bench.controllers_plant import KIND, TARGET_NS
from sedp.simulator.arrival import Arrival
from sedp.simulator.callers import RetryHabit
from sedp.simulator.shapes import SECOND_NS, burst_times_ns, redrawn_times_ns, spike, step
from sedp.simulator.traffic import RequestKind, mixed

CALM = 0.6  # of capacity, before and after
BEFORE_S, AFTER_S = 1.0, 2.0
BURSTS_LOAD = 0.8  # of capacity, on average
RETRY = RetryHabit(pause_ns=2 * SECOND_NS, gives_up_ns=30 * SECOND_NS)
RETRY_LOAD, RETRY_AFTER_S = 1.5, 10.0
IMPATIENCE_NS = 5 * TARGET_NS  # when those who ask again have waited long enough
AZURE, NASA = Path("azure_llm_2023/code.csv.gz"), Path("nasa_http/arrivals_jul12_14.csv.gz")
NASA_HOURS = (31.0, 35.0)  # around the launch on the second day
RARE_SHARE, RARE_ROWS = 0.005, 400  # four times the usual size: half the target alone
RARE_LOAD = 2.0
TENANTS, NOISE = 10, 10.0
NOISY = 1  # the tenant; where there is but one, it is 0


@dataclass(frozen=True, slots=True)
class Trace:
    """One load.

    Args:
        streams: requests of a kind and when they come, int64[n], ascending.
        high_ns: when more comes than can be served, from and until; the whole for bursts.
        habit: of callers who ask again; `None` is nobody.
    """

    name: str
    streams: tuple[tuple[NDArray[np.int64], RequestKind], ...]
    high_ns: tuple[int, int]
    habit: RetryHabit | None = None

    def arrivals(self, rng: np.random.Generator) -> Iterator[Arrival]:
        dice = rng.spawn(len(self.streams))
        streams = (
            mixed(times_ns, [kind], own)
            for (times_ns, kind), own in zip(self.streams, dice, strict=True)
        )
        return merge(*streams, key=lambda arrival: arrival.time_ns)


def step_trace(times: float, capacity: float, for_s: float, rng: np.random.Generator) -> Trace:
    """To a multiple of the capacity at once, and back."""
    low, high = CALM * capacity, times * capacity
    times_ns = step(low, high, BEFORE_S, for_s, AFTER_S).draw(rng)
    return Trace(f"step to {times:g}×", ((times_ns, KIND),), _span(BEFORE_S, for_s))


def spike_trace(times: float, capacity: float, for_s: float, rng: np.random.Generator) -> Trace:
    """Up to a multiple of the capacity and down, in straight lines."""
    low, high = CALM * capacity, times * capacity
    times_ns = spike(low, high, BEFORE_S, for_s, AFTER_S).draw(rng)
    return Trace(f"spike to {times:g}×", ((times_ns, KIND),), _span(BEFORE_S, for_s))


def retry_trace(capacity: float, for_s: float, rng: np.random.Generator) -> Trace:
    """A step whose callers ask again every two seconds, for half a minute, when refused or late."""
    low, high = CALM * capacity, RETRY_LOAD * capacity
    times_ns = step(low, high, BEFORE_S, for_s, RETRY_AFTER_S).draw(rng)
    kind = replace(KIND, patience_ns=IMPATIENCE_NS)
    return Trace("naive retriers", ((times_ns, kind),), _span(BEFORE_S, for_s), RETRY)


def rare_trace(capacity: float, for_s: float, rng: np.random.Generator) -> Trace:
    """A step in which one request of two hundred is large."""
    low, high = CALM * capacity, RARE_LOAD * capacity
    streams = tuple(
        (step(share * low, share * high, BEFORE_S, for_s, AFTER_S).draw(rng), kind)
        for share, kind in (
            (1 - RARE_SHARE, KIND),
            (RARE_SHARE, replace(KIND, rows=(RARE_ROWS,))),
        )
    )
    return Trace("rare large requests", streams, _span(BEFORE_S, for_s))


def tenants_trace(
    capacity: float, for_s: float, rng: np.random.Generator, calm: float = CALM
) -> Trace:
    """Equal tenants, who ask for `calm` of the capacity; then one of them for ten for a while."""
    rate = calm * capacity / TENANTS
    streams = tuple(
        (
            step(rate, noise * rate, for_s, for_s, AFTER_S).draw(rng),
            replace(KIND, tenant=tenant),
        )
        for tenant in range(TENANTS)
        for noise in (NOISE if tenant == NOISY else 1.0,)
    )
    return Trace("noisy tenant", streams, _span(for_s, for_s))


def burst_traces(
    capacity: float, for_s: float, rng: np.random.Generator, folder: Path | None
) -> list[Trace]:
    """Recorded hours pressed into `for_s` when there is a folder with them, else drawn bursts."""
    rate = BURSTS_LOAD * capacity
    if folder is None:
        drawn = burst_times_ns(rate, int(rate * for_s), rng)
        return [Trace("drawn bursts", ((drawn, KIND),), (0, int(drawn[-1])))]
    azure, nasa = _recorded_s(folder / AZURE), _recorded_s(folder / NASA)
    launch = nasa[(nasa >= NASA_HOURS[0] * 3600) & (nasa < NASA_HOURS[1] * 3600)]
    traces = []
    for name, recorded_s, resolution_s in (("azure", azure, 1e-3), ("nasa", launch, 1.0)):
        times_ns = redrawn_times_ns(
            recorded_s,
            rng,
            speed=(recorded_s[-1] - recorded_s[0]) / for_s,
            rate=rate,
            resolution_s=resolution_s,
        )
        traces.append(Trace(f"{name} trace", ((times_ns, KIND),), (0, int(times_ns[-1]))))
    return traces


def _span(start_s: float, for_s: float) -> tuple[int, int]:
    return int(start_s * SECOND_NS), int((start_s + for_s) * SECOND_NS)


def _recorded_s(path: Path) -> NDArray[np.float64]:
    """The first column of a compressed table with one row of headings."""
    try:
        with gzip.open(path, "rt") as file:
            return np.loadtxt(file, delimiter=",", skiprows=1, usecols=0, ndmin=1)
    except (OSError, ValueError) as err:
        raise click.UsageError(f"--data-dir: {path}: not a readable trace: {err}") from err
