"""Stages process their own examples before they are served."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec, zero_batch
from sedp.daemon.warm_up import StageOpener, renew
from sedp.errors import ConfigError, SedpError, StageError
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Resources, Stage

ITEMS = ColumnSpec("FP32", Level.ITEM)
OPENER = StageOpener(Path(), 2, None)


class Noting(Stage):
    """Notes what happens to it; `failing` names what goes wrong."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.failing = params if isinstance(params, str) else ""
        self.happened: list[Any] = []

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": ITEMS, "u": None}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": ITEMS}

    def open(self, resources: Resources) -> None:
        self.happened.append("open")
        if self.failing == "open":
            raise ConfigError("no model")

    def process(self, batch: Batch) -> Mapping[str, Array]:
        self.happened.append((batch["x"].tolist(), batch["u"].shape, batch.splits.tolist()))
        if self.failing == "process":
            raise ValueError("bad model")
        return {"y": batch["x"][:-1] if self.failing == "shape" else batch["x"]}

    def close(self) -> None:
        self.happened.append("close")


class Meeting(Noting):
    """Opens only while others open, too."""

    barrier = threading.Barrier(4)

    def open(self, resources: Resources) -> None:
        self.barrier.wait(timeout=10)


def pipeline(stage: Stage, name: str = "p") -> Pipeline:
    inputs = {"x": TensorSpec.parse("FP32[n]"), "u": TensorSpec.parse("FP32[3]")}
    return compile_pipeline(
        name, inputs, {"y": TensorSpec.parse("FP32[n]")}, {"s": StageUse(stage)}
    )


async def test_examples_of_one_and_of_several_events_are_processed_once_opened() -> None:
    stage = Noting(None)
    await OPENER.open([pipeline(stage)])
    assert stage.happened == [
        "open",
        ([0.0], (1, 3), [0, 1]),
        ([0.0] * 6, (3, 3), [0, 1, 3, 6]),
    ]


@pytest.mark.parametrize(
    ("failing", "error", "words"),
    [
        ("open", ConfigError, "pipeline 'p', stage 's': no model"),
        ("process", StageError, "pipeline 'p', stage 's' failed to warm up: ValueError"),
        ("shape", StageError, "pipeline 'p', stage 's' failed to warm up: .* of shape"),
    ],
)
async def test_stage_that_fails_is_named_and_nothing_stays_open(
    failing: str, error: type[SedpError], words: str
) -> None:
    good, bad = Noting(None), Noting(failing)
    with pytest.raises(error, match=words):
        await OPENER.open([pipeline(good, "good"), pipeline(bad)])
    assert good.happened[-1] == "close"
    assert ("close" in bad.happened) == (failing != "open")


async def test_stages_of_all_pipelines_are_opened_side_by_side() -> None:
    await OPENER.open([pipeline(Meeting(None), name) for name in ("a", "b", "c", "d")])


def test_renewed_pipeline_is_the_same_with_stages_of_its_own() -> None:
    old = pipeline(Noting("params"))
    new = renew(old)
    assert new.stages[0].use.stage is not old.stages[0].use.stage
    assert new.stages[0].use.stage.params == "params"
    assert (new.inputs, new.outputs, new.stages[0].use.plan) == (
        old.inputs,
        old.outputs,
        old.stages[0].use.plan,
    )


@pytest.mark.parametrize("rows", [(), (1,), (0, 2)])
def test_zero_batch_has_every_type(rows: Sequence[int]) -> None:
    types = {
        "text": ColumnSpec("BYTES", Level.REQUEST),
        "flag": ColumnSpec("BOOL", Level.ITEM, (2,)),
        "id": ColumnSpec("UINT64", Level.ITEM),
    }
    batch = zero_batch(types, rows)
    assert (batch.event_count, batch.row_count) == (len(rows), sum(rows))
    assert batch["text"].tolist() == [b""] * len(rows)
    assert batch["flag"].shape == (sum(rows), 2)
    assert {name: column.dtype for name, column in batch.columns.items()} == {
        "text": np.dtype(object),
        "flag": np.dtype(bool),
        "id": np.dtype(np.uint64),
    }
