"""Which few steps together promise most, by forecast, from the plans in force.

Some gains need two knobs at once: larger batches in one stage pay only when the stage before hands
on as many. So a few of the best first steps are followed further, even if they gain nothing yet.

What is weighed is events answered in time: the load that the pipeline can carry, times how far its
p99 fits the target. Forecasts are corrected by what the plans in force were forecast to do and
did, so a model that is wrong everywhere alike does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from msgspec.structs import replace as replace_fields

from sedp.manager.bounds import Bounds
from sedp.manager.executors import begins_to_hold, move_load
from sedp.manager.forecast import Forecast, StageLoad, forecast
from sedp.manager.judgement import fit
from sedp.manager.neighbours import Step, steps
from sedp.manager.queue_bounds import derive_queues

GAIN_MIN = 1.05  # less is within what forecasts and windows err
STEPS_MAX = 5  # at a time
STEP_PRICE = 0.98  # a step more must bring this much more
BEAM = 6  # sets of steps that are followed further
TARGET_SHARE = 0.95  # of the target may be forecast: windows scatter
CORRECTION_MAX = 3.0  # a forecast further off says nothing about the next one


@dataclass(frozen=True, slots=True)
class Goal:
    """What to aim at, and how far off the forecasts are.

    Args:
        rate_s: offered events a second.
        capacity_factor, late_factor: measured capacity and latency over their forecasts, for the
            plans in force.
        queue_share: of the target, for which queues are to be bounded.
        is_short: events are lost, and none is late: only more capacity helps, whatever is forecast
            of latencies.
    """

    rate_s: float
    target_ns: int
    cores: float
    capacity_factor: float = 1.0
    late_factor: float = 1.0
    queue_share: float = 1.0
    is_short: bool = False

    def with_queues(self, loads: Sequence[StageLoad]) -> list[StageLoad]:
        """The loads with the queue bounds that belong to their other knobs."""
        return derive_queues(loads, self.target_ns * self.queue_share, self.cores)

    def corrected(self, loads: Sequence[StageLoad]) -> Forecast:
        """The forecast with the queue bounds that belong to these plans."""
        raw = forecast(self.with_queues(loads), self.rate_s, self.cores)
        return replace(
            raw,
            capacity_s=raw.capacity_s * self.capacity_factor,
            p99_ns=raw.p99_ns * self.late_factor,
        )

    def is_served_by(self, outcome: Forecast, before: Forecast) -> bool:
        """Whether it can help at all."""
        return not self.is_short or outcome.capacity_s > before.capacity_s

    def in_time_s(self, outcome: Forecast) -> float:
        """Events a second that are answered, discounted as far as they are late."""
        in_time = fit(outcome.p99_ns, TARGET_SHARE * self.target_ns)
        return min(self.rate_s, outcome.capacity_s) * in_time


class Choice(NamedTuple):
    """Steps by position of their stage, and what they promise together."""

    steps: tuple[tuple[int, Step], ...]
    loads: Sequence[StageLoad]
    in_time_s: float
    outcome: Forecast

    @property
    def merit(self) -> float:
        return self.in_time_s * STEP_PRICE ** len(self.steps)


def search(
    loads: Sequence[StageLoad],
    executors: Sequence[str],
    bounds: Sequence[Bounds],
    goal: Goal,
    allowed: Callable[[Sequence[tuple[int, Step]]], bool],
    give_way: Callable[[], None] = lambda: None,
) -> tuple[Choice, float] | None:
    """The best choice of at most `STEPS_MAX` steps, at most one a knob, and its gain as a factor.

    Args:
        loads, executors, bounds: one a stage, in topological order.
        allowed: whether these steps may be tried together now.
        give_way: called between forecasts, of which there are hundreds.

    Returns:
        `None` when nothing promises `GAIN_MIN`.
    """
    here = _weigh((), loads, goal)
    best, beam = here, [here]
    for _ in range(STEPS_MAX):
        found = set[frozenset[tuple[int, Step]]]()  # in whatever order
        further = list[Choice]()
        for near in beam:
            for far in _further(near, executors, bounds, goal, found):
                further.append(far)
                give_way()
        beam = sorted(further, key=lambda choice: choice.merit, reverse=True)[:BEAM]
        fit = (c for c in beam if goal.is_served_by(c.outcome, here.outcome) and allowed(c.steps))
        best = max([best, *fit], key=lambda choice: choice.merit)
    gain = best.in_time_s / here.in_time_s if here.in_time_s else 1.0
    return (best, gain) if gain >= GAIN_MIN else None


def _further(
    near: Choice,
    executors: Sequence[str],
    bounds: Sequence[Bounds],
    goal: Goal,
    found: set[frozenset[tuple[int, Step]]],
) -> Iterator[Choice]:
    """One step more, with a knob not moved yet; sets of steps found before are left out."""
    moved = {(position, step.knob) for position, step in near.steps}
    for position, load in enumerate(near.loads):
        for step in steps(load.plan, executors[position], bounds[position], load.rows):
            if (position, step.knob) in moved:
                continue
            taken = (*near.steps, (position, step))
            if (steps_taken := frozenset(taken)) in found:
                continue
            found.add(steps_taken)
            stepped = apply(load, step)
            if _holds(_place(taken, position, executors), load, stepped):
                continue
            changed = [*near.loads[:position], stepped, *near.loads[position + 1 :]]
            yield _weigh(taken, changed, goal)


def _holds(place: int | str, before: StageLoad, after: StageLoad) -> bool:
    """Whether runs would come to hold the loop; with `auto` the engine leaves it by itself."""
    return place == "inline" and begins_to_hold(before, after)


def _place(
    taken: tuple[tuple[int, Step], ...], position: int, executors: Sequence[str]
) -> int | str:
    """The executor of a stage once these steps are taken."""
    moved = [step.after for n, step in taken if n == position and step.knob == "executor"]
    return moved[0] if moved else executors[position]


def _weigh(taken: tuple[tuple[int, Step], ...], loads: Sequence[StageLoad], goal: Goal) -> Choice:
    outcome = goal.corrected(loads)
    return Choice(taken, loads, goal.in_time_s(outcome), outcome)


def apply(load: StageLoad, step: Step) -> StageLoad:
    """The load with the step taken."""
    if step.knob == "executor":
        return move_load(load, str(step.after))
    return replace(load, plan=replace_fields(load.plan, **{step.knob: step.after}))


def correction(measured: float, forecast_: float) -> float:
    """Measured over forecast, within reason."""
    return min(CORRECTION_MAX, max(1 / CORRECTION_MAX, measured / max(forecast_, 1e-9)))
