"""The one form of every bench result: a figure with its spread, its goal and its anchor.

A number alone says nothing about another machine. So each is measured several times, in turn with
an *anchor* that everybody knows (a bare queue, a bare heap) in the same process, and their ratio
travels better than either.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit the value should keep; as text `<= 5` or `>= 100000`."""

    limit: float
    at_most: bool = True

    def holds(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a bench.

    Args:
        value: median of the rounds.
        spread: least and greatest of the rounds.
        n: rounds.
        goal: as text, or `None`.
        holds: whether the value keeps the goal.
        anchor: what was measured beside it, in the same unit.
        anchor_value: median of its rounds.
        ratio: value / anchor_value.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    n: int
    goal: str | None = None
    holds: bool | None = None
    anchor: str | None = None
    anchor_value: float | None = None
    ratio: float | None = None


def make_figure(
    name: str,
    unit: str,
    rounds: Sequence[float],
    *,
    goal: Goal | None = None,
    anchor: str | None = None,
    anchor_rounds: Sequence[float] = (),
) -> Figure:
    """Sum up the rounds of a measurement and of its anchor."""
    rounds = [float(each) for each in rounds]  # numpy's own do not go into JSON
    value = statistics.median(rounds)
    anchor_value = float(statistics.median(anchor_rounds)) if anchor else None
    return Figure(
        name=name,
        value=value,
        unit=unit,
        spread=(min(rounds), max(rounds)),
        n=len(rounds),
        goal=str(goal) if goal else None,
        holds=goal.holds(value) if goal else None,
        anchor=anchor,
        anchor_value=anchor_value,
        ratio=value / anchor_value if anchor_value else None,
    )


def measure_in_turn(rounds: int, *measurements: Callable[[], float]) -> list[list[float]]:
    """Take every measurement once a round, so that a slow spell of the machine hits them all."""
    taken = [[measure() for measure in measurements] for _ in range(rounds)]
    return [list(column) for column in zip(*taken, strict=True)]


@dataclass(frozen=True, slots=True)
class Report:
    """What a bench writes: where it ran, and its figures."""

    bench: str
    quick: bool
    seed: int
    machine: dict[str, str | int]
    figures: list[Figure]

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"
