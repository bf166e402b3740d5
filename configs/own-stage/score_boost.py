"""A stage of your own: raise the scores of some items by a factor.

Nothing is installed or registered. This file lies beside `pipeline.yaml`, which names the class:

    kind: score_boost:ScoreBoost

`sedp check pipeline.yaml` and `sedp serve pipeline.yaml` do the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Params, Stage

SCORE = ColumnSpec("FP32", Level.ITEM)  # in YAML: FP32[n], one float a candidate
ITEM_ID = ColumnSpec("INT64", Level.ITEM)  # in YAML: INT64[n]


class BoostParams(Params, frozen=True, kw_only=True):
    """The YAML section `params`.

    Its types, limits and descriptions become the checks of `sedp check` and their messages.
    """

    items: Annotated[list[int], Meta(min_length=1, description="Ids of the items to raise.")]
    factor: Annotated[float, Meta(gt=0, le=10, description="1.2 raises a score by 20 %.")]
    output: Annotated[str, Meta(description="Column to write.")] = "boosted_score"


class ScoreBoost(Stage):
    """Multiply the scores of chosen items by a factor."""

    Params = BoostParams

    def __init__(self, params: Any) -> None:
        """Prepare what the params alone decide. Raise ValueError for what types cannot refuse."""
        super().__init__(params)
        if len(set(params.items)) < len(params.items):
            raise ValueError("items lists an id twice; remove one")
        self._items = np.array(params.items, np.int64)
        self._factor = np.float32(params.factor)

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        """The columns read. Whichever stage provides them runs before this one."""
        return {"score": SCORE, "item_id": ITEM_ID}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        """The columns written. Each name is provided once in a pipeline: write a new one."""
        return {self.params.output: SCORE}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        """One run: the rows of several events, joined. Never loop over rows in Python.

        Called from any thread; keep no state between runs, and never write into `batch`.
        """
        chosen = np.isin(batch["item_id"], self._items)
        score = batch["score"]
        return {self.params.output: np.where(chosen, score * self._factor, score)}
