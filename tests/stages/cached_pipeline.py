"""A pipeline with a query cache around a stage whose scores can be told in advance."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StageCare, StagePlan
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Params, Resources, Stage
from sedp.stages.query_cache import QueryCache
from sedp.stages.query_cache_fill import QueryCacheFill
from tests.stages.lone_stage import make_stage

INPUTS = {"user": TensorSpec.parse("INT64[1]"), "item": TensorSpec.parse("INT64[n]")}
SECOND_NS = 1_000_000_000


def score_of(user: Any, item: Any, round_: int = 0) -> Any:
    """What a candidate is worth in a round; exact in float32, never zero."""
    return 1 + user * 1000 + item + round_ * 1_000_000


class Score(Stage):
    """`fresh` = `score_of` user and item; counts the candidates, fails when told to."""

    def __init__(self) -> None:
        super().__init__(Params())
        self.rows = 0
        self.round = 0
        self.fails = False
        self.gate: threading.Event | None = None

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"user": None, "item": None}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"fresh": ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.fails:
            raise ValueError("told to fail")
        self.rows += batch.row_count
        user = batch.at_item_level("user", Level.REQUEST)
        return {"fresh": score_of(user, batch["item"], self.round).astype(np.float32)}


class CachedPipeline:
    """`cache` → `rank` → `fill`, opened; `stages` between the two halves may be others."""

    def __init__(
        self,
        care: StageCare | None = None,
        rank_fallback: Mapping[str, float] | None = None,
        plan: StagePlan | None = None,
        executor: str = "auto",
        store: Any = None,
        **params: Any,
    ) -> None:
        self.cache = make_stage(
            QueryCache, user="user", item="item", scores=["score"], memory=1 << 20, **params
        )
        self.rank = Score()
        self.fill = make_stage(QueryCacheFill, scores={"score": "fresh"})
        rank = StageUse(
            self.rank, plan or StagePlan(), executor, ("cache",), care or StageCare(),
            rank_fallback or {},
        )  # fmt: skip
        uses = {
            "cache": StageUse(self.cache, StagePlan(), executor),
            "rank": rank,
            "fill": StageUse(self.fill, StagePlan(), executor),
        }
        self.pipeline: Pipeline = compile_pipeline(
            "p", INPUTS, {"score": TensorSpec.parse("FP32[n]")}, uses
        )
        self.cache.open(Resources(Path(), store=store))


def request(user: int, items: Sequence[int]) -> Batch:
    columns = {"user": np.array([user]), "item": np.array(items, np.int64)}
    return Batch(columns, np.array([0, len(items)]))
