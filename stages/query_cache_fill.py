"""Query cache, second half: fresh scores are kept, and every candidate gets its own.

Scores are kept as of when they were asked for, not of when they came: what they were made of was
read in between, and feedback may have overtaken it. What was made of a fallback is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, zero_batch
from sedp.errors import StageError
from sedp.pipeline import ENGINE_COLUMNS
from sedp.stage import Stage
from sedp.stages.query_cache import Name, shared_columns
from sedp.stages.score_cells import NEVER_NS
from sedp.stages.score_lookup import Found
from sedp.stages.score_table import ScoreKeys, table_numbered

STOOD_IN = "engine.stood_in"
_NONE = np.zeros(0, np.bool_)  # what filling has no need of


class QueryCacheFill(Stage):
    """Keeps the scores that were computed, and completes them with those the cache had."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        scores: Annotated[
            dict[str, str],
            msgspec.Meta(
                min_length=1,
                description="Column to write for each score of the cache, and the FP32[n] column "
                "it is computed in, {score: fresh_score}.",
            ),
        ]
        name: Name = "cache"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._fresh = [params.scores[score] for score in sorted(params.scores)]
        self._columns = shared_columns(params.name, list(params.scores))
        *self._cached, self._item, self._source, self._reference, self._request = self._columns

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        told = {name: ENGINE_COLUMNS[name] for name in ("engine.now_ns", STOOD_IN)}
        fresh = dict.fromkeys(self._fresh, ColumnSpec("FP32", Level.ITEM))
        return {**self._columns, **fresh, **told}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        scores = dict.fromkeys(self.params.scores, ColumnSpec("FP32", Level.ITEM))
        return {**scores, self.degrades: ColumnSpec("BOOL", Level.REQUEST)}

    @property
    def widens(self) -> bool:
        return True

    @property
    def degrades(self) -> str:
        return f"{self.params.name}.lost"

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        """No events: nothing is kept."""
        return (zero_batch(inputs, ()),)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        scores = _stacked(batch, self._fresh)
        lost = self._complete(batch, scores)
        return {**dict(zip(sorted(self.params.scores), scores, strict=True)), self.degrades: lost}

    def _complete(self, batch: Batch, scores: Array) -> Array:
        """Keep what is fresh and write the other rows; which events were let down."""
        users, tenants, rows, asked, numbers = np.ascontiguousarray(batch[self._request].T)
        number = int(numbers.max(initial=0))
        if number == 0:  # of nobody: there are no events, or fallbacks stand for the first half
            return np.zeros(batch.event_count, np.bool_)
        table = table_numbered(number)
        if table is None:
            raise StageError("the first half of the cache is closed; close it after this stage")
        came = batch.splits[1:] - batch.splits[:-1]
        if ((rows != came) & (numbers != 0)).any():
            raise _left_out(np.where(numbers, rows, came), came)
        asked[(numbers != number) | batch[STOOD_IN]] = NEVER_NS
        found = Found(
            _NONE,
            np.ascontiguousarray(batch[self._source]),
            np.ascontiguousarray(batch[self._reference]),
            _stacked(batch, self._cached),
            _NONE,
        )
        items = np.ascontiguousarray(batch[self._item]).view(np.uint64)
        keys = ScoreKeys(users.view(np.uint64), tenants.view(np.uint64), items, batch.splits)
        return table.fill(keys, asked, int(batch["engine.now_ns"][0]), found, scores)


def _stacked(batch: Batch, names: Sequence[str]) -> Array:
    """Copies of scores, float32[len(names), n]."""
    scores = np.empty((len(names), batch.row_count), np.float32)
    for row, name in zip(scores, names, strict=True):
        row[:] = batch[name]
    return scores


def _left_out(wanted: Array, came: Array) -> StageError:
    """Why no work is done when another stage has left out candidates that were looked up."""
    return StageError(
        f"of {wanted.sum()} candidates looked up {came.sum()} came back, since another stage "
        "narrows between the two halves of the cache; move it before both or behind both"
    )
