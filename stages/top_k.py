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
    With `among` the positions are those in the whole request though only some candidates rank.
    """

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        k: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="Ranks to write.")]
        by: Annotated[str, msgspec.Meta(description="Score column, FP32[n].")] = "score"
        output: Annotated[str, msgspec.Meta(description="Column to write.")] = "rank"
        among: Annotated[
            str | None,
            msgspec.Meta(
                description="BOOL[n] column of a narrowing stage, as `kept` of candidate_cut: only "
                "where it is true a candidate ranks. Behind such a stage it is needed."
            ),
        ] = None

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        read: dict[str, ColumnSpec | None] = {self.params.by: ColumnSpec("FP32", Level.ITEM)}
        if self.params.among is not None:
            read[self.params.among] = ColumnSpec("BOOL", Level.ITEM)
        return read

    @property
    def widens(self) -> bool:
        return self.params.among is not None

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.params.output: ColumnSpec("INT32", Level.REQUEST, (self.params.k,))}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        scores, owners, order, first = batch[self.params.by], batch.owners, None, batch.splits
        if self.params.among is not None:
            order = np.flatnonzero(batch[self.params.among])
            scores, owners = scores[order], owners[order]
            first = np.searchsorted(order, first)
        # One sort for all events: by owner first, then by falling score; lexsort is stable.
        best = np.lexsort((-scores, owners))
        place = np.arange(len(best)) - first[owners]
        shown = place < self.params.k
        rows = (best if order is None else order[best])[shown]
        ranks = np.full((batch.event_count, self.params.k), NONE, np.int32)
        ranks[owners[shown], place[shown]] = rows - batch.splits[owners[shown]]
        return {self.params.output: ranks}
