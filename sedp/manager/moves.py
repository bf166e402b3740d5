"""Moves: every change of a knob as a record of what was seen, tried, expected, and what came.

The log is bounded: the oldest moves are forgotten, and `total` still counts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from sedp.engine.graph import StagePlan
from sedp.manager.observation import StageKey

LOG_MOVES_MAX = 1024  # a move every three seconds for most of an hour; about 1 MB as JSON

Knob = Literal[
    "concurrency",
    "batch_rows_max",
    "batch_wait_ns",
    "queue_rows_max",
    "executor",
    "in_flight_bytes_max",
    "ram_bytes",
]
PLAN_KNOBS = StagePlan.__struct_fields__
Verdict = Literal["kept", "reverted", "unclear"]


class Expected(msgspec.Struct, frozen=True):
    """What the model promised of all moves made together.

    Args:
        gain: factor on events answered in time, so never more than all that came over those that
            were in time before; 1 when none was promised.
        capacity_s: events a second that the pipeline could then answer.
        p99_ns: of the latency, at the load that was seen.
        hit_ratio: of the store's caches, where they are moved; `gain` is then that of the cost of
            a look-up, and of a pipeline nothing is promised.
        run_ns: wall time of a run, where `auto` moves a stage: the place shall not change it.
            `gain` is then that of this time, and of a pipeline nothing is promised.
    """

    gain: float
    capacity_s: float
    p99_ns: int
    hit_ratio: float | None = None
    run_ns: int | None = None


class Came(msgspec.Struct, frozen=True):
    """What was measured after the moves, and what was made of it."""

    gain: float
    answered_s: float
    p99_ns: int
    verdict: Verdict
    hit_ratio: float | None = None
    run_ns: int | None = None


class Move(msgspec.Struct, frozen=True):
    """A change of one knob.

    Args:
        number: counts from 1 through all moves of a tuner.
        at_ns: on the engine's clock.
        pipeline: "" for a knob of the process.
        stage: "" for a knob of the pipeline.
        saw: figures that led to it, by name with unit.
        reason: a sentence for the operator.
        expected: with a gain of 1 for moves that are not judged (bounds that follow from the
            target, slots of no use, reversions): a forecast, or what was measured before.
        came: later; `None` until then.
    """

    number: int
    at_ns: int
    pipeline: str
    stage: str
    knob: Knob
    before: int | str
    after: int | str
    saw: Mapping[str, float]
    reason: str
    expected: Expected | None = None
    came: Came | None = None

    @property
    def key(self) -> StageKey:
        return self.pipeline, self.stage


class MoveLog:
    """The last moves, oldest first."""

    def __init__(self, moves_max: int = LOG_MOVES_MAX) -> None:
        self._moves: deque[Move] = deque(maxlen=moves_max)
        self.total = 0

    def __iter__(self) -> Iterator[Move]:
        return iter(self._moves)

    def __len__(self) -> int:
        return len(self._moves)

    def append(self, move: Move) -> None:
        self._moves.append(move)
        self.total += 1

    def conclude(self, numbers: Iterable[int], came: Came) -> None:
        """Write down what came of some moves; forgotten ones are passed over."""
        wanted = frozenset(numbers)
        for place, move in enumerate(self._moves):
            if move.number in wanted:
                self._moves[place] = replace(move, came=came)

    def to_json(self) -> bytes:
        """A JSON array of the moves, oldest first."""
        return msgspec.json.encode(list(self._moves))


def change_plans(
    plans: Mapping[StageKey, StagePlan], moves: Iterable[Move]
) -> dict[StageKey, StagePlan]:
    """The new plans of the stages that the moves touch; other knobs are no part of a plan."""
    changed: dict[StageKey, StagePlan] = {}
    for move in moves:
        if move.knob in PLAN_KNOBS:
            plan = changed.get(move.key, plans[move.key])
            changed[move.key] = replace(plan, **{move.knob: move.after})
    return changed


def change_executors(moves: Iterable[Move]) -> dict[StageKey, str]:
    """Where the stages whose executor is moved run from now on."""
    return {move.key: str(move.after) for move in moves if move.knob == "executor"}


def change_bytes(moves: Iterable[Move]) -> dict[str, int]:
    """Bytes in flight, at most, by pipeline whose bound is moved."""
    return {move.pipeline: int(move.after) for move in moves if move.knob == "in_flight_bytes_max"}
