"""Top-k: the best candidates of each request, as positions in the request's own order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Stage

NONE = -1  # fills up the ranks of a request with fewer than k candidates


class TopK(Stage):
    """Writes `output` INT32[k]: `output[i]` is the position of the i-th best candidate.

    Equal scores rank in request order; NaN ranks last; places past the last candidate hold -1.
    """

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        k: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="Ranks to write.")]
        by: Annotated[str, msgspec.Meta(description="Score column, FP32[n].")] = "score"
        output: Annotated[str, msgspec.Meta(description="Column to write.")] = "rank"

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {self.params.by: ColumnSpec("FP32", Level.ITEM)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.params.output: ColumnSpec("INT32", Level.REQUEST, (self.params.k,))}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        # One sort for all events: by owner first, then by falling score; lexsort is stable.
        order = np.lexsort((-batch[self.params.by], batch.owners))
        place = np.arange(batch.row_count) - batch.splits[batch.owners]
        kept = place < self.params.k
        ranks = np.full((batch.event_count, self.params.k), NONE, np.int32)
        owners = batch.owners[kept]
        ranks[owners, place[kept]] = order[kept] - batch.splits[owners]
        return {self.params.output: ranks}
