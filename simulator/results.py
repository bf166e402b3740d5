"""What runs bring about: the loop's port for it, and a model of stages that narrow.

Without any, a run takes its time and nothing else comes of it. `execution` really runs the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sedp.engine.events import FallBack, Outcome, RunBatch
from sedp.simulator.arrival import Arrival

Rows = tuple[int, ...]  # one number an event
NarrowingRule = Callable[[int, Rows, int], Rows]


class Execution(Protocol):
    """The port: what a run does begins with it, and shows when it has ended."""

    def admit(self, event: int, arrival: Arrival) -> None:
        """Take what `arrival` brings."""

    def rows_of(self, events: Sequence[int]) -> int:
        """Item rows of these events together, by which their next run is priced."""

    def run(self, now_ns: int, run: RunBatch) -> bool:
        """Run a stage on events, joined in this order; `False` when it raises."""

    def end(self, batch: int) -> None:
        """The run is over: hand its results out, unless it raised or was abandoned."""

    def abandon(self, batch: int) -> None:
        """Nobody wants the results of this run any more."""

    def fall_back(self, fallback: FallBack) -> None:
        """Give events the columns that stand for those of a stage."""

    def finish(self, events: Sequence[int], outcome: Outcome) -> None:
        """Forget events; hand their answers over if they have any."""


class Narrowing:
    """Implements the port for mode *model*: only how many rows of each event are left.

    Not modelled: stages that take in again what was left out.

    Args:
        rule: `(stage, rows, pressure) -> rows` that go on, each at most as many; for a stage that
            does not narrow, what it gets. `pressure` is in permille.
    """

    def __init__(self, rule: NarrowingRule) -> None:
        self._rule = rule
        self._rows: dict[int, int] = {}
        self._results: dict[int, tuple[tuple[int, ...], Rows]] = {}  # by batch

    def admit(self, event: int, arrival: Arrival) -> None:
        self._rows[event] = arrival.rows

    def rows_of(self, events: Sequence[int]) -> int:
        return sum(map(self._rows.__getitem__, events))

    def run(self, now_ns: int, run: RunBatch) -> bool:
        rows = tuple([self._rows[event] for event in run.events])
        left = self._rule(run.stage, rows, run.pressure)
        assert len(left) == len(rows), f"stage {run.stage}: {len(left)} counts for {len(rows)}"
        self._results[run.batch] = run.events, left
        return True

    def end(self, batch: int) -> None:
        for event, rows in zip(*self._results.pop(batch, ((), ())), strict=True):
            if event in self._rows:
                self._rows[event] = rows

    def abandon(self, batch: int) -> None:
        self._results.pop(batch, None)

    def fall_back(self, fallback: FallBack) -> None:
        """Who is not narrowed keeps all rows."""

    def finish(self, events: Sequence[int], outcome: Outcome) -> None:
        for event in events:
            del self._rows[event]
