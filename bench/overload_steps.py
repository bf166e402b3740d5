"""What came of a load that was too much, from when requests fell due and how long they took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure, Goal, make_figure
from bench.slo import LIMIT_S

SETTLED_S = 2.0  # into a step, from which the target is to be kept
WINDOW_S = 0.02
WELL = 0.95  # of a window's requests in time: recovered
KEPT_UP = 0.9  # of the load that is wanted, which the client must have sent for goals to count
IN_TIME_GOALS = {2.0: 0.95, 3.0: 0.9}
BOUND_GOAL, BOUND_FROM = 0.9, 5.0  # of what refusals leave time for, from that much on

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sent:
    """Requests of one run.

    Args:
        due_s: float64[n], ascending, from the start.
        latencies: float64[n], seconds; `inf` where there was no answer.
        levels: int64[n], 0 is the highest.
    """

    due_s: Floats
    latencies: Floats
    levels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one step.

    Args:
        offered: requests a second that fell due while it lasted.
        in_time: answers within the target, a second, of these.
        p99: seconds of those answered, of the whole step and once it had settled.
        recovery_s: from relief until nearly all are in time.
        top: share of the highest level that was in time while it lasted.
    """

    offered: float
    in_time: float
    p99: float
    p99_settled: float
    recovery_s: float
    top: float

    @classmethod
    def of(cls, sent: Sent, start_s: float, for_s: float) -> Step:
        """The step from `start_s` on, in what was sent."""
        due_s, latencies = sent.due_s, sent.latencies
        stop_s = start_s + for_s
        during = (due_s >= start_s) & (due_s < stop_s)
        settled = during & (due_s >= start_s + min(SETTLED_S, for_s / 2))
        relieved = due_s >= stop_s
        top = during & (sent.levels == 0)
        return cls(
            float(np.count_nonzero(during)) / for_s,
            float(np.count_nonzero(latencies[during] <= LIMIT_S)) / for_s,
            p99_s(latencies[during]),
            p99_s(latencies[settled]),
            recovery_s(due_s[relieved] - stop_s, latencies[relieved]),
            float(np.mean(latencies[top] <= LIMIT_S)),
        )


def p99_s(latencies: Floats) -> float:
    """Of those that were answered; nan when none was."""
    answered = latencies[np.isfinite(latencies)]
    return float(np.percentile(answered, 99)) if len(answered) else float("nan")


def recovery_s(after_s: Floats, latencies: Floats) -> float:
    """When the last window ended in which too few were in time."""
    windows = (after_s / WINDOW_S).astype(np.int64)
    recovered = 0
    for window in np.unique(windows):
        if np.mean(latencies[windows == window] <= LIMIT_S) < WELL:
            recovered = int(window) + 1
    return recovered * WINDOW_S


def possible(due_s: Floats, rate: float) -> int:
    """How many could be in time at most, of a server that answers `rate` a second, one by one."""
    free_s, count = 0.0, 0
    for due in due_s.tolist():
        ended_s = max(free_s, due) + 1 / rate
        if ended_s - due <= LIMIT_S:
            free_s = ended_s
            count += 1
    return count


def left_by_refusals(times: float, refusal: float) -> float:
    """Of the goodput, when so many times as much is offered: `(1 - r·m) / (1 - r)`, 0 at least.

    Args:
        refusal: what a refused request costs, by an answered one.
    """
    if times <= 1 or refusal >= 1:
        return 1.0
    return max(0.0, (1 - refusal * times) / (1 - refusal))


def step_figures(factor: float, goodput: float, refusal: float, steps: list[Step]) -> list[Figure]:
    """Goals hold or are missed only where the client could send nearly as much as was wanted.

    What refusals leave is judged by what was really offered.
    """
    offered = [step.offered / goodput for step in steps]
    judged = min(offered) >= KEPT_UP * factor
    share = IN_TIME_GOALS.get(factor)
    told: list[tuple[str, str, list[float], Goal | None]] = [
        ("offered / goodput", "×", offered, None),
        (
            "in time / goodput",
            "×",
            [step.in_time / goodput for step in steps],
            Goal(share, at_most=False) if share else None,
        ),
        ("p99 / target", "×", [step.p99 / LIMIT_S for step in steps], Goal(1.5)),
        ("p99 / target, settled", "×", [step.p99_settled / LIMIT_S for step in steps], Goal(1.0)),
        ("recovery", "ms", [1e3 * step.recovery_s for step in steps], Goal(200)),
        ("highest level in time", "share", [step.top for step in steps], Goal(0.99, False)),
    ]
    step = f"step to {factor:g} × the goodput"
    figures = [
        make_figure(f"{step}: {name}", unit, rounds, goal=goal if judged else None)
        for name, unit, rounds, goal in told
    ]
    left = [left_by_refusals(times, refusal) for times in offered]
    if factor >= BOUND_FROM and min(left) > 0:
        rounds = [one.in_time / goodput / most for one, most in zip(steps, left, strict=True)]
        goal = Goal(BOUND_GOAL, at_most=False)
        name = f"{step}: in time / what refusals leave"
        figures.append(make_figure(name, "×", rounds, goal=goal))
    return figures


def burst_figures(name: str, goodput: float, sent: Sent) -> list[Figure]:
    """A trace with bursts beyond the goodput: of what could have been in time, what was."""
    in_time = int(np.count_nonzero(sent.latencies <= LIMIT_S))
    top = sent.latencies[sent.levels == 0]
    share = in_time / max(1, possible(sent.due_s, goodput))
    return [
        make_figure(f"{name}: in time / possible at the goodput", "×", [share]),
        make_figure(f"{name}: in time", "share", [in_time / len(sent.due_s)]),
        make_figure(f"{name}: p99 / target", "×", [p99_s(sent.latencies) / LIMIT_S]),
        make_figure(f"{name}: highest level in time", "share", [float(np.mean(top <= LIMIT_S))]),
    ]
