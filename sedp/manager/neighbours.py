"""One step with one knob: the plans that are near enough to be tried while serving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sedp.engine.graph import StagePlan
from sedp.manager.bounds import Bounds, Range
from sedp.manager.moves import Knob

WAIT_NS_MIN = 100_000  # a shorter wait for company gathers nobody: from here the step is to 0


class Step(NamedTuple):
    """A knob's next value: at most half or double of what is in force, of batch rows four times."""

    knob: Knob
    before: int | str
    after: int | str

    @property
    def is_up(self) -> bool:
        return self.after > self.before  # type: ignore[operator]  # both of one type


def steps(
    plan: StagePlan, executor: str, bounds: Bounds, event_rows: float = 1.0
) -> Iterator[Step]:
    """All steps within the bounds; from outside them, those that lead nearer.

    Args:
        event_rows: of the usual event. A batch takes one however large it is, so that a limit below
            that is as good as that.
    """
    slots, rows, wait_ns = plan.concurrency, plan.batch_rows_max, plan.batch_wait_ns
    least = max(rows, round(event_rows))
    near_slots = {slots - 1, slots + 1, slots - slots // 2, slots + slots // 2}
    near_rows = {rows // 2, rows * 2 // 3, least * 3 // 2, least * 2, least * 4}
    near_waits = {max(WAIT_NS_MIN, wait_ns * 2), wait_ns // 2 if wait_ns > WAIT_NS_MIN else 0}
    yield from _within("concurrency", slots, near_slots, bounds.concurrency)
    yield from _within("batch_rows_max", rows, near_rows, bounds.batch_rows)
    yield from _within("batch_wait_ns", wait_ns, near_waits, bounds.batch_wait_ns)
    if executor in bounds.executors:
        for other in bounds.executors:
            if other != executor:
                yield Step("executor", executor, other)


def _within(knob: Knob, value: int, near: set[int], limits: Range) -> Iterator[Step]:
    low, high = min(limits[0], value), max(limits[1], value)  # from outside it may come nearer
    for other in sorted({min(max(other, low), high) for other in near} - {value}):
        yield Step(knob, value, other)
