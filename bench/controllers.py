"""Bench `controllers`: every admission controller on the same loads, under the virtual clock.

The server is `controllers_plant`'s with its best static plan, found by trying every one. *Peak* is
what that plan answers within the target without any admission control; *capacity*, what it answers
while every core is busy, however late. Loads are multiples of the capacity, so that even the
least step is more than anybody could serve. Nothing here depends on the machine but the time of a
decision.

First a table of all controllers on all loads and who won; then every figure of the default one,
load by load, beside the best of the published ones there; then each controller over all loads,
median and extremes.
"""

from __future__ import annotations

import math
import statistics
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.controllers_plant import (
    LEVELS,
    TARGET_NS,
    find_best_plan,
    make_graph,
    saturated_rate,
    simulate,
)
from bench.controllers_table import Row, loads_won, print_table
from bench.controllers_traces import (
    Trace,
    burst_traces,
    rare_trace,
    retry_trace,
    spike_trace,
    step_trace,
    tenants_trace,
)
from bench.controllers_verdict import Verdict, judge
from bench.figure import Figure, Goal, make_figure
from bench.progress import tell
from sedp.cores import usable_cores
from sedp.engine.admission import Admission
from sedp.engine.event import Event
from sedp.engine.events import Arrived, Outcome
from sedp.engine.graph import Graph
from sedp.engine.stage_state import PipelineState
from sedp.manager.admission.registry import make_admission
from sedp.simulator.callers import Retriers
from sedp.simulator.search import with_plans

OURS = "predicted_wait"
PUBLISHED = ("seda", "aimd", "vegas", "gradient2", "codel", "dagor", "breakwater")
NEAREST = ("vegas", "gradient2", "breakwater")  # come closest: all there is time for
FEW_STEPS, ALL_STEPS = (3.0,), (1.4, 2.0, 3.0, 5.0, 10.0)
ROUNDS = 2
SPIKE = 5.0  # times the capacity


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the comparison.

    Args:
        field: of `Verdict`.
        goals: by the name of a load; `""` is every other one.
    """

    field: str
    name: str
    unit: str
    at_most: bool
    goals: dict[str, float]

    def goal(self, load: str) -> Goal | None:
        limit = self.goals.get(load, self.goals.get(""))
        return None if limit is None else Goal(limit, self.at_most)

    def best(self, values: dict[str, float]) -> str:
        """Whose value is best."""
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        return (min if self.at_most else max)(known, key=lambda name: known[name])


MEASURES = (
    Measure("of_peak", "goodput / peak", "×", False, {"step to 2×": 0.95, "step to 3×": 0.9}),
    Measure("of_possible", "goodput / possible", "×", False, {"step to 10×": 0.9}),
    Measure("late_goodput", "goodput 10 s after", "×", False, {"naive retriers": 0.95}),
    Measure("quality", "answered in full and in time", "×", False, {}),
    Measure("p99", "p99 / target", "×", True, {"": 1.5}),
    Measure("p99_later", "p99 / target after 2 s", "×", True, {"": 1.0}),
    Measure("recovery_ms", "recovery after", "ms", True, {"": 200.0}),
    Measure("top", "top level in time", "×", False, {"": 0.99}),
    Measure("rare", "p99 of large ones / target", "×", True, {"": 1.0}),
    Measure("rare_served", "large ones in time / all in time", "×", False, {}),
    Measure("others", "p99 of other tenants / before", "×", True, {"": 1.2}),
    Measure("wasted", "wasted work", "×", True, {"": 0.01}),
    Measure("decision_us", "decision", "µs", True, {"": 100.0}),
    Measure("decision_p99_us", "decision, p99", "µs", True, {"": 100.0}),
)


class TimedDoor:
    """An `Admission` whose decisions are timed; all else is passed on."""

    def __init__(self, inner: Admission) -> None:
        self._inner = inner
        self._times_ns = array("q")
        self.wait_limit_ns = inner.wait_limit_ns
        self.waited = inner.waited
        self.pressure = inner.pressure

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        started_ns = time.perf_counter_ns()
        outcome = self._inner.refusal(now_ns, newcomer, pipeline)
        self._times_ns.append(time.perf_counter_ns() - started_ns)
        return outcome

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        self._inner.ended(now_ns, event, outcome)

    def percentile_us(self, percent: float) -> float:
        return float(np.percentile(self._times_ns, percent)) / 1e3


@dataclass(frozen=True, slots=True)
class Comparison:
    """All verdicts: by controller and load, one a round."""

    verdicts: dict[tuple[str, str], list[Verdict]]

    def rounds(self, measure: Measure, controller: str, load: str) -> list[float]:
        """Those that the load can say anything about."""
        values = [getattr(one, measure.field) for one in self.verdicts[controller, load]]
        return [value for value in values if not math.isnan(value)]

    def loads(self) -> list[str]:
        return list(dict.fromkeys(load for _, load in self.verdicts))

    def controllers(self) -> list[str]:
        return list(dict.fromkeys(controller for controller, _ in self.verdicts))


def measure(quick: bool, seed: int, data_dir: Path | None = None) -> list[Figure]:
    """All figures of this bench.

    Args:
        data_dir: where recorded traces lie; `None` draws some.
    """
    found = find_best_plan(seed)
    capacity = saturated_rate(found, seed)
    graph = with_plans(make_graph(), found.plans)
    names = (OURS, "counters", *(NEAREST if quick else PUBLISHED))
    comparison = Comparison({})
    with ProcessPoolExecutor(usable_cores()) as pool:
        for dice in range(seed, seed + (1 if quick else ROUNDS)):
            for trace in _traces(quick, capacity, dice, data_dir, is_first=dice == seed):
                tell(f"round {dice - seed + 1}: {trace.name}")
                try_one = partial(
                    _try, graph, trace=trace, peak=found.goodput, capacity=capacity, seed=dice
                )
                for name, verdict in zip(names, pool.map(try_one, names), strict=True):
                    comparison.verdicts.setdefault((name, trace.name), []).append(verdict)
    rows = list(_rows(comparison))
    print_table(rows, OURS)
    plans = len({trial.plans for trial in found.path})
    return [
        make_figure(f"peak: the best of {plans} static plans", "req/s", [found.goodput]),
        make_figure("capacity: all cores busy", "req/s", [capacity]),
        _won(rows),
        *_by_load(comparison),
        *_by_controller(comparison),
    ]


def _traces(
    quick: bool, capacity: float, seed: int, folder: Path | None, *, is_first: bool
) -> Iterator[Trace]:
    """All loads; fewer and shorter ones when it is to be quick, the longest in one round only."""
    rng = np.random.default_rng(seed)
    for times in FEW_STEPS if quick else ALL_STEPS:
        yield step_trace(times, capacity, 2.5 if quick else 3.5, rng)
    if not quick:
        yield spike_trace(SPIKE, capacity, 4.0, rng)
    yield from burst_traces(capacity, 3.0 if quick else 12.0, rng, folder)
    if is_first:
        yield retry_trace(capacity, 2.0 if quick else 30.0, rng)
    yield rare_trace(capacity, 2.0 if quick else 5.0, rng)
    yield tenants_trace(capacity, 2.0 if quick else 5.0, rng)


def _try(graph: Graph, name: str, trace: Trace, peak: float, capacity: float, seed: int) -> Verdict:
    """One controller under one load; dice are the same for all of them."""
    traffic, service, callers = np.random.default_rng(seed).spawn(3)
    admission = make_admission(name, TARGET_NS, LEVELS)
    door = None if admission is None else TimedDoor(admission)
    arrivals = list(trace.arrivals(traffic))
    run = simulate(
        graph,
        arrivals,
        service,
        admissions=[door],
        callers=Retriers(trace.habit, callers) if trace.habit else None,
    )
    tenants = np.zeros(len(run.rows), np.int64)
    if trace.habit is None:  # else who asks again comes between
        tenants[:] = [arrival.tenant for arrival in arrivals]
    verdict = judge(run, tenants, trace, peak, capacity)
    if door is None:
        return verdict
    return replace(
        verdict, decision_us=door.percentile_us(50), decision_p99_us=door.percentile_us(99)
    )


def _rows(comparison: Comparison) -> Iterator[Row]:
    """What the table shows of each controller on each load, medians."""
    for load in comparison.loads():
        for name in comparison.controllers():
            of = comparison.verdicts[name, load]
            yield Row(
                load,
                name,
                goodput=statistics.median(one.of_possible for one in of),
                p99=statistics.median(one.p99 for one in of),
                quality=statistics.median(one.quality for one in of),
                recovery_ms=statistics.median(one.recovery_ms for one in of),
            )


def _won(rows: list[Row]) -> Figure:
    """On how many loads the default one answers as many in time as the best."""
    won = loads_won(rows, OURS)
    return make_figure(
        "loads on which the default has the best goodput, or 1 % less",
        "",
        [len(won)],
        goal=Goal(len({row.load for row in rows}), at_most=False),
    )


def _by_load(comparison: Comparison) -> Iterator[Figure]:
    """The default controller beside the best published one."""
    for load in comparison.loads():
        for measure in MEASURES:
            own = comparison.rounds(measure, OURS, load)
            if not own:
                continue
            others = {
                name: comparison.rounds(measure, name, load)
                for name in comparison.controllers()
                if name in PUBLISHED
            }
            best = measure.best({name: statistics.median(r) for name, r in others.items() if r})
            yield make_figure(
                f"{load}: {measure.name}",
                measure.unit,
                own,
                goal=measure.goal(load),
                anchor=best,
                anchor_rounds=others[best],
            )


def _by_controller(comparison: Comparison) -> Iterator[Figure]:
    """Each controller over all loads."""
    loads = comparison.loads()
    for measure in MEASURES:
        for name in comparison.controllers():
            rounds = [value for load in loads for value in comparison.rounds(measure, name, load)]
            if rounds:
                yield make_figure(f"{measure.name}, all loads, {name}", measure.unit, rounds)
