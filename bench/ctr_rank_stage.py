"""The stages of ctr-rank as one: what is left between the two is the price of handing over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sedp.columns import Array, Batch, ColumnSpec
from sedp.stage import Resources, Stage
from sedp.stages.dense_scoring import DenseScoring
from sedp.stages.embedding_lookup import EmbeddingLookup


class LookUpAndScore(Stage):
    """Embedding look-ups and the scoring of what they find, in one run."""

    class Params(msgspec.Struct, frozen=True):
        """What the stages have as params when they stand alone."""

        lookups: list[EmbeddingLookup.Params]
        score: DenseScoring.Params

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._score = DenseScoring(params.score)
        self._lookups = [EmbeddingLookup(own) for own in params.lookups]
        self._stages: list[Stage] = [*self._lookups, self._score]

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        looked_up = {name: None for lookup in self._lookups for name in lookup.requires}
        passed = (name for name in self._score.requires if not name.endswith("_embedding"))
        return {**looked_up, **dict.fromkeys(passed)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        known = dict(inputs)
        for stage in self._stages:
            known |= stage.provides({name: known[name] for name in stage.requires})
        return {name: known[name] for name in self.params.score.outputs}

    def open(self, resources: Resources) -> None:
        for stage in self._stages:
            stage.open(resources)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        columns = dict(batch.columns)
        known = Batch(columns, batch.splits)
        for stage in self._stages:
            columns.update(stage.process(known))
        return {name: columns[name] for name in self.params.score.outputs}
