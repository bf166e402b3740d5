"""A stage to be watched, a pipeline of it, and requests for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StagePlan
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Params, Stage

FP32N = TensorSpec.parse("FP32[n]")


class Double(Stage):
    """`y = 2 x`, held up by `gate` and spoilt by `spoil` where a test wants that."""

    gate: threading.Event | None = None
    result_dtype: type = np.float32

    def __init__(self) -> None:
        super().__init__(Params())
        self.batches: list[int] = []
        self.threads: set[str] = set()

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": ColumnSpec("FP32", Level.ITEM)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        self.batches.append(batch.event_count)
        self.threads.add(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(10)
        if (batch["x"] < 0).any():
            raise ValueError("negative")
        return {"y": (batch["x"] * 2).astype(self.result_dtype)}


def one_stage(stage: Stage, executor: str = "auto", in_flight_max: int = 100) -> Pipeline:
    use = StageUse(stage, StagePlan(), executor)
    return compile_pipeline(
        "p", {"x": FP32N}, {"y": FP32N}, {"double": use}, in_flight_max=in_flight_max
    )


def request(*values: float) -> Batch:
    return Batch({"x": np.array(values, np.float32)}, np.array([0, len(values)]))


async def turn_twice() -> None:
    """Let the loop take in what was just asked, and then admit it."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
