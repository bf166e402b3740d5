"""Hand-over: how columns get from stage to stage without being copied.

A stage's result stays where it was made, as a *chunk* that joins the rows of its batch; an event
keeps only (chunk, place) for each stage that has provided something. When the next batch is the
same events in the same order, or neighbours out of one chunk, its columns are views; otherwise
exactly the columns that the stage reads are concatenated, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.errors import StageError
from sedp.pipeline import BoundStage, Pipeline

Place = tuple[Batch, int]  # a chunk, and the event's position in it
Span = tuple[Batch, int, int]  # a chunk, and a run of event positions in it


class Payload:
    """One event's columns: `places[0]` is the request, `places[1 + i]` what stage `i` provided."""

    __slots__ = ("places", "rows")

    def __init__(self, request: Batch, stage_count: int) -> None:
        self.rows = request.row_count
        self.places: list[Place | None] = [(request, 0)] + [None] * stage_count

    def put(self, stage: int, chunk: Batch, position: int) -> None:
        self.places[1 + stage] = (chunk, position)


def join_batch(stage: BoundStage, payloads: Sequence[Payload]) -> Batch:
    """The rows of several events as `stage` wants to read them, in the order given."""
    if len(payloads) == 1:
        return _lone_batch(stage, payloads[0])
    spans: dict[int, list[Span]] = {}
    columns: dict[str, Array] = {}
    for name, source in stage.sources.items():
        if source not in spans:
            spans[source] = _spans(payloads, source)
        columns[name] = _column(name, stage.inputs[name].level, spans[source])
    return Batch(columns, _splits(payloads, next(iter(spans.values()))))


def _lone_batch(stage: BoundStage, payload: Payload) -> Batch:
    """`join_batch` of one event: nothing to join, so nothing is looked at twice."""
    columns: dict[str, Array] = {}
    splits: NDArray[np.int64] | None = None
    for name, source in stage.sources.items():
        place = payload.places[1 + source]
        assert place is not None, "a stage was run before its inputs were made"
        chunk, position = place
        if chunk.event_count == 1:
            columns[name], splits = chunk.columns[name], chunk.splits
        else:
            columns[name] = _rows(chunk, name, stage.inputs[name].level, position, position + 1)
    return Batch(columns, np.array((0, payload.rows)) if splits is None else splits)


def split_batch(
    stage: BoundStage,
    position: int,
    batch: Batch,
    result: Mapping[str, Array],
    payloads: Sequence[Payload],
) -> None:
    """Check what a stage returned for `batch` and give every event its place in it.

    Raises:
        StageError: missing or surplus columns, or rows, dtype or shape other than declared.
    """
    if not isinstance(result, Mapping) or result.keys() != stage.provides.keys():
        have = f"columns {sorted(result)}" if isinstance(result, Mapping) else type(result).__name__
        raise StageError(
            f"stage {stage.name!r} returned {have}, but it declares "
            f"{sorted(stage.provides)}; return exactly those"
        )
    rows = {Level.ITEM: batch.row_count, Level.REQUEST: batch.event_count}
    for name, spec in stage.provides.items():
        column = result[name]
        if (
            not isinstance(column, np.ndarray)
            or column.shape != (rows[spec.level], *spec.shape)
            or column.dtype != spec.dtype
        ):
            raise _wrong_column(stage.name, name, spec, column, batch)
    chunk = Batch(result, batch.splits)
    for place, payload in enumerate(payloads):
        payload.put(position, chunk, place)


def answer(pipeline: Pipeline, payload: Payload) -> dict[str, Array]:
    """The output columns of one finished event, as views where they were made."""
    columns = {}
    for name, source in pipeline.output_sources.items():
        place = payload.places[1 + source]
        assert place is not None, f"event answered before {name!r} was made"
        level = pipeline.outputs[name].column.level
        columns[name] = _rows(place[0], name, level, place[1], place[1] + 1)
    return columns


def _spans(payloads: Sequence[Payload], source: int) -> list[Span]:
    """Where the events' rows lie, neighbours of one chunk taken together."""
    spans: list[Span] = []
    for payload in payloads:
        place = payload.places[1 + source]
        assert place is not None, "a stage was run before its inputs were made"
        chunk, position = place
        if spans and spans[-1][0] is chunk and spans[-1][2] == position:
            spans[-1] = (chunk, spans[-1][1], position + 1)
        else:
            spans.append((chunk, position, position + 1))
    return spans


def _rows(chunk: Batch, name: str, level: Level, start: int, stop: int) -> Array:
    if start == 0 and stop == chunk.event_count:
        return chunk.columns[name]
    if level is Level.ITEM:
        start, stop = int(chunk.splits[start]), int(chunk.splits[stop])
    return chunk.columns[name][start:stop]


def _column(name: str, level: Level, spans: Sequence[Span]) -> Array:
    parts = [_rows(chunk, name, level, start, stop) for chunk, start, stop in spans]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _splits(payloads: Sequence[Payload], spans: Sequence[Span]) -> NDArray[np.int64]:
    """Row splits of the joined batch: those of the chunk when it is one, else summed up anew."""
    chunk, start, stop = spans[0]
    if len(spans) == 1 and start == 0:
        return chunk.splits[: stop + 1]
    # Numpy's own sum takes longer to call than a batch has events.
    return np.array(list(accumulate((p.rows for p in payloads), initial=0)), np.int64)


def _wrong_column(
    stage: str, name: str, spec: ColumnSpec, column: object, batch: Batch
) -> StageError:
    """What is wrong with a column that a stage returned: its shape, else its dtype."""
    rows = batch.row_count if spec.level is Level.ITEM else batch.event_count
    if not isinstance(column, np.ndarray) or column.shape != (rows, *spec.shape):
        have = column.shape if isinstance(column, np.ndarray) else type(column).__name__
        return StageError(
            f"stage {stage!r} returned {name!r} of shape {have}, but {(rows, *spec.shape)} "
            f"is due ({spec} for {batch.event_count} events of {batch.row_count} rows)"
        )
    return StageError(
        f"stage {stage!r} returned {name!r} of dtype {column.dtype}, but it declares "
        f"{spec.dtype}; convert it with .astype({spec.dtype})"
    )
