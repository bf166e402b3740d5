"""Random pipelines of exact integer arithmetic, and the sequential reference they must equal.

Every stage mixes its columns with its own odd factor, so an answer that was swapped, lost or run
with a neighbour's rows cannot come out right by accident.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StageCare, StagePlan
from sedp.operator import Operator
from sedp.payload import Payload, answer
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Params, Stage

POISON = -666
ROWS_PER_EVENT_MAX = 6


class Mix(Stage):
    """Weighted sum of its columns; refuses a batch that holds a poisonous event."""

    def __init__(self, reads: Mapping[str, Level], writes: str, level: Level, factor: int) -> None:
        super().__init__(Params())
        self.reads, self.writes, self.level, self.factor = reads, writes, level, factor

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {name: ColumnSpec("INT64", level) for name, level in self.reads.items()}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.writes: ColumnSpec("INT64", self.level)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        out = np.full(
            batch.row_count if self.level is Level.ITEM else batch.event_count, self.factor
        )
        for place, (name, level) in enumerate(self.reads.items()):
            column = batch[name]
            if (column == POISON).any():
                raise ValueError("poison")
            if self.level is Level.ITEM:
                column = batch.at_item_level(name, level)
            elif level is Level.ITEM:
                sums = np.zeros(batch.event_count, np.int64)
                np.add.at(sums, batch.owners, column)
                column = sums
            out = out * 31 + column * (self.factor + 2 * place)
        return {self.writes: out}


def random_plan(dice: random.Random) -> StagePlan:
    return StagePlan(
        concurrency=dice.randint(1, 3),
        batch_rows_max=dice.choice([1, 3, 8, 30]),
        batch_wait_ns=dice.choice([0, 0, 5, 40]),
        queue_rows_max=dice.choice([1, 6, 50, 1000]),
    )


def random_care(dice: random.Random) -> StageCare:
    """Now and then a stage with time-outs, a twin, a breaker, or a fallback."""
    return StageCare(
        timeout_ns=dice.choice([0, 0, 20, 60]),
        has_fallback=dice.random() < 0.5,
        hedge_ns=dice.choice([0, 0, 10, 40]),
        breaker_share=dice.choice([0, 0, 300]),
        breaker_pause_ns=dice.choice([1, 100]),
    )


def random_pipeline(dice: random.Random, stage_count: int, *, careful: bool = False) -> Pipeline:
    """A pipeline of `stage_count` mixing stages; whatever nobody reads becomes an output."""
    columns = {"user": Level.REQUEST, "item": Level.ITEM}
    uses: dict[str, StageUse] = {}
    unread: set[str] = set()
    for number in range(stage_count):
        reads = dice.sample(sorted(columns), dice.randint(1, min(3, len(columns))))
        level = dice.choice(list(Level))
        plan = random_plan(dice)
        stage = Mix({name: columns[name] for name in reads}, f"c{number}", level, 2 * number + 3)
        care = random_care(dice) if careful else StageCare()
        uses[f"s{number}"] = StageUse(stage, plan, care=care)
        unread = (unread - set(reads)) | {f"c{number}"}
        columns[f"c{number}"] = level
    outputs = {
        name: TensorSpec.parse(f"INT64[{'n' if columns[name] is Level.ITEM else 1}]")
        for name in unread
    }
    inputs = {"user": TensorSpec.parse("INT64[1]"), "item": TensorSpec.parse("INT64[n]")}
    return compile_pipeline("dag", inputs, outputs, uses, in_flight_max=dice.choice([2, 8, 100]))


def random_request(dice: random.Random, poisonous: bool) -> Batch:
    rows = dice.randint(1, ROWS_PER_EVENT_MAX)
    item = np.array([dice.randint(0, 10**6) for _ in range(rows)])
    if poisonous:
        item[dice.randrange(rows)] = POISON
    user = np.array([dice.randint(0, 10**6)])
    return Batch({"user": user, "item": item}, np.array([0, rows]))


def sequential_answer(pipeline: Pipeline, request: Batch) -> dict[str, Array] | None:
    """The answer of one event run alone, stage after stage; `None` when a stage refuses it."""
    payload = Payload(request, len(pipeline.stages))
    for position, stage in enumerate(pipeline.stages):
        try:
            Operator(stage, position).run([payload])
        except ValueError:
            return None
    return answer(pipeline, payload)
