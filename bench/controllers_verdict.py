"""What a controller made of a load, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.controllers_plant import REFUSAL, TARGET_NS
from bench.controllers_traces import NOISY, RARE_ROWS, Trace
from sedp.engine.events import Outcome
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.shapes import SECOND_NS

MILLISECOND_NS = 1_000_000
WINDOW = 100  # arrivals, of which `WELL` must be answered in time once all is well again
WELL = 95
SETTLED_NS = 2 * SECOND_NS  # after a step the controller must hold the target
LATE_NS = 10 * SECOND_NS  # after those who ask again have had their time


@dataclass(frozen=True, slots=True)
class Verdict:
    """NaN where a trace cannot say.

    Args:
        of_peak: answers in time while the load is high, by the peak.
        of_possible: the same, by what any controller could answer in time at this load.
        quality: share of all who ask meanwhile that is answered in time, in full; nothing is cut.
        p99: of those answered while the load is high, by the target; `p99_later` 2 s after.
        recovery_ms: from relief until nearly everybody is answered in time again.
        top: share of the top level, a noisy tenant's left out, answered in time meanwhile.
        rare: p99 of the large ones that were answered while the load is high, by the target.
        rare_served: share of them that is answered in time then, by that of all.
        others: p99 of all tenants but the noisy one while it is noisy, by that before.
        wasted: share of all work that went into what was not answered in time.
        late_goodput: in the tenth second after relief, of what is possible at the peak.
        decision_us: median of a decision at the door, in real time; `decision_p99_us` of 100.
    """

    of_peak: float
    of_possible: float
    quality: float
    p99: float
    p99_later: float
    recovery_ms: float
    top: float
    rare: float
    rare_served: float
    others: float
    wasted: float
    late_goodput: float
    decision_us: float = math.nan
    decision_p99_us: float = math.nan


def judge(
    run: SimulatedRun,
    tenants: NDArray[np.int64],
    trace: Trace,
    peak: float,
    capacity: float,
) -> Verdict:
    """Sum up a run.

    Args:
        tenants: int64[n], of the arrivals; all the same where none is of interest.
        peak: answers within the target a second, without any controller.
        capacity: answers a second when nobody need be refused.
    """
    start_ns, end_ns = trace.high_ns
    high = (run.arrived_ns >= start_ns) & (run.arrived_ns < end_ns)
    before = run.arrived_ns < start_ns
    in_time = run.in_time(TARGET_NS)
    rare = high & (run.rows == RARE_ROWS)
    quiet = tenants != NOISY
    return Verdict(
        of_peak=float(in_time[high].sum()) / (end_ns - start_ns) * SECOND_NS / peak,
        of_possible=_share_of_possible(run, in_time, trace.high_ns, capacity),
        quality=_mean(in_time[high]),
        p99=_p99(run, high),
        p99_later=_p99(run, high & (run.arrived_ns >= start_ns + SETTLED_NS)),
        recovery_ms=float("nan") if trace.habit else _recovery_ms(run, in_time, end_ns),
        top=_mean(in_time[high & (run.levels == 1) & quiet]),
        rare=_p99(run, rare),
        rare_served=_mean(in_time[rare]) / max(_mean(in_time[high]), 1 / len(high)),
        others=math.nan if quiet.all() else _p99(run, quiet & high) / _p99(run, quiet & before),
        wasted=run.wasted_share(TARGET_NS),
        late_goodput=_share_of_possible(
            run, in_time, (end_ns + LATE_NS - SECOND_NS, end_ns + LATE_NS), peak
        ),
    )


def bound(times: float) -> float:
    """Share of the capacity that is left when so many times as much is offered."""
    return (1 - REFUSAL * times) / (1 - REFUSAL) if times > 1 else 1.0


def _share_of_possible(
    run: SimulatedRun, in_time: NDArray[np.bool_], span_ns: tuple[int, int], capacity: float
) -> float:
    """Answers in time of those that arrived in a span, by the most that could be.

    The most: a server at its bound whose queue never holds more than a target's worth.
    """
    start_ns, end_ns = span_ns
    inside = (run.arrived_ns >= start_ns) & (run.arrived_ns < end_ns)
    arrivals = np.histogram(
        run.arrived_ns[inside], np.arange(start_ns, end_ns + MILLISECOND_NS, MILLISECOND_NS)
    )[0]
    if not inside.any():
        return float("nan")
    times = float(inside.sum()) / (end_ns - start_ns) * SECOND_NS / capacity
    step = capacity * bound(times) * MILLISECOND_NS / SECOND_NS
    waiting = possible = 0.0
    for count in arrivals.tolist():
        waiting = min(waiting + count, step * TARGET_NS / MILLISECOND_NS)
        possible += min(waiting, step)
        waiting -= min(waiting, step)
    return float(in_time[inside].sum()) / (possible + waiting)


def _p99(run: SimulatedRun, chosen: NDArray[np.bool_]) -> float:
    latency_ns = run.latency_ns[chosen & (run.outcomes == Outcome.ANSWERED)]
    return float(np.percentile(latency_ns, 99)) / TARGET_NS if len(latency_ns) else float("nan")


def _recovery_ms(run: SimulatedRun, in_time: NDArray[np.bool_], relief_ns: int) -> float:
    """Until the first arrival after relief from which on any window is well."""
    after = run.arrived_ns >= relief_ns
    if np.count_nonzero(after) < WINDOW:
        return float("nan")
    well = np.convolve(in_time[after], np.ones(WINDOW, np.int64), "valid") >= WELL
    sick = np.flatnonzero(~well)
    first_ns = run.arrived_ns[after][sick[-1] + 1] if len(sick) else relief_ns
    return float(first_ns - relief_ns) / MILLISECOND_NS


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")
