"""One stage alone: typed, opened and checked the way a pipeline would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, TensorSpec
from sedp.payload import Payload, check_result, hand_out
from sedp.pipeline import StageUse, compile_pipeline
from sedp.stage import Resources, Stage, Store

StageKind = TypeVar("StageKind", bound=Stage)


def make_stage(kind: type[StageKind], **params: Any) -> StageKind:
    """A stage from what its YAML section would hold."""
    return kind(msgspec.convert(params, kind.Params))


def column_types(texts: Mapping[str, str]) -> dict[str, ColumnSpec]:
    return {name: TensorSpec.parse(text).column for name, text in texts.items()}


def make_batch(counts: Sequence[int], columns: Mapping[str, Any]) -> Batch:
    """Events of `counts` candidates; lists become arrays of numpy's own choice."""
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    return Batch(arrays, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def run_stage(
    stage: Stage,
    types: Mapping[str, str],
    batch: Batch,
    *,
    store: Store | None = None,
    base_path: Path = Path(),
) -> dict[str, Array]:
    """Compile, open and run a stage on one batch; its result is checked against its word."""
    inputs = {name: TensorSpec.parse(text) for name, text in types.items()}
    outputs = {
        name: TensorSpec.parse(str(spec))
        for name, spec in stage.provides(column_types(types)).items()
    }
    bound = compile_pipeline("lone", inputs, outputs, {"lone": StageUse(stage)}).stages[0]
    stage.open(Resources(base_path, store=store))
    result = dict(stage.process(batch))
    payloads = [Payload(batch, 1) for _ in range(batch.event_count)]
    hand_out(bound, 0, check_result(bound, batch, result), payloads)
    stage.close()
    return result
