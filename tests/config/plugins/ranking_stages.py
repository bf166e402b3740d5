"""Stages of a user: imported by name from the folder of a config, never from `tests`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Params, Stage

USER = ColumnSpec("INT64", Level.REQUEST)
ITEM = ColumnSpec("INT64", Level.ITEM)
SCORE = ColumnSpec("FP32", Level.ITEM)


class ScoreParams(Params, frozen=True, kw_only=True):
    weight: Annotated[float, Meta(gt=0, le=100, description="Factor of the score.")] = 1.0
    bias: float | None = None


class Score(Stage):
    Params = ScoreParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        if params.bias == params.weight:
            raise ValueError("bias must differ from weight; change one of them")

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"user": USER, "item": ITEM}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"score": SCORE}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        scores = batch["item"] * self.params.weight
        return {"score": scores.astype("float32")}


class Unfinished(Score):
    """Its author forgot an import."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.model = jodlib.load("model")  # type: ignore[name-defined]  # noqa: F821


class Loose(Score):
    Params = dict  # type: ignore[assignment]


class Impossible(Score):
    class Params(Params, frozen=True):
        threads: Annotated[int | None, Meta(ge=1)] = None


class Helper:
    """No stage."""
