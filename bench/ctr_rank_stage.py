"""The stages of ctr-rank as one: what handing over between stages costs is the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sedp.columns import Array, Batch, ColumnSpec
from sedp.stage import Resources, Stage
from sedp.stages.dense_scoring import DenseScoring
from sedp.stages.embedding_lookup import EmbeddingLookup


class LookUpAndScore(Stage):
    """An embedding look-up and the scoring of what it finds, in one run."""

    class Params(msgspec.Struct, frozen=True):
        """The params of both kinds."""

        embedding: EmbeddingLookup.Params
        score: DenseScoring.Params

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._embedding = EmbeddingLookup(params.embedding)
        self._score = DenseScoring(params.score)

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        own = {self.params.embedding.request_output, self.params.embedding.item_output}
        read = {**self._embedding.requires, **self._score.requires}
        return {name: spec for name, spec in read.items() if name not in own}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        made = self._embedding.provides({name: inputs[name] for name in self._embedding.requires})
        known = {**inputs, **made}
        return self._score.provides({name: known[name] for name in self._score.requires})

    def open(self, resources: Resources) -> None:
        self._embedding.open(resources)
        self._score.open(resources)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        columns = {**batch.columns, **self._embedding.process(batch)}
        return self._score.process(Batch(columns, batch.splits))
