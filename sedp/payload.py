"""Hand-over: how columns get from stage to stage without being copied.

A stage's result stays where it was made, as a *chunk* that joins the rows of its batch; an event
keeps only (chunk, place) for each stage that has provided something. When the next batch is the
same events in the same order, or neighbours out of one chunk, its columns are views; otherwise
exactly the columns that the stage reads are concatenated, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.engine.events import NEVER_NS
from sedp.errors import StageError
from sedp.pipeline import ENGINE, ENGINE_COLUMNS, REQUEST, BoundStage, Pipeline
from sedp.views import ALL_ROWS, Kept, convert, kept_of, narrow_splits

NO_TARGET_LEFT_NS = 1 << 62  # time left to events that have no target

Place = tuple[Batch, int]  # a chunk, and the event's position in it
Span = tuple[Batch, int, int]  # a chunk, and a run of event positions in it


class Moment(NamedTuple):
    """What the engine tells of the start of a run.

    Args:
        now_ns: on the clock of the deadlines.
        pressure: in permille.
    """

    now_ns: int = 0
    pressure: int = 0


IDLE = Moment()


class Payload:
    """One event's columns: `places[0]` is the request, `places[1 + i]` what stage `i` provided.

    Args:
        due_ns: when its latency target is used up.
        tenant: whose it is.
    """

    __slots__ = ("degraded", "due_ns", "places", "request", "rows", "stood_in", "tenant")

    def __init__(
        self, request: Batch, stage_count: int, due_ns: int = NEVER_NS, tenant: int = 0
    ) -> None:
        self.request = request
        self.rows = request.row_count
        self.places: list[Place | None] = [(request, 0)] + [None] * stage_count
        self.due_ns = due_ns
        self.tenant = tenant
        self.degraded: tuple[str, ...] = ()  # names of the stages that fell short
        self.stood_in = False  # whether columns stand for those of a stage


def join_batch(stage: BoundStage, payloads: Sequence[Payload], moment: Moment = IDLE) -> Batch:
    """The rows of several events as `stage` wants to read them, in the order given."""
    if not stage.is_plain:
        return _join_views(stage, payloads, moment)
    if len(payloads) == 1:
        return _lone_batch(stage, payloads[0])
    joint = _Joint(stage, payloads)
    columns = {
        name: joint.column(name, stage.inputs[name].level, source)
        for name, source in stage.sources.items()
    }
    return Batch(columns, _view_splits(stage, joint))


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


def check_result(stage: BoundStage, batch: Batch, result: Mapping[str, Array]) -> Batch:
    """What a stage returned for `batch`, once it is known to be what it declares.

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
    return Batch(result, batch.splits)


def hand_out(stage: BoundStage, position: int, chunk: Batch, payloads: Sequence[Payload]) -> None:
    """Give every event of a batch its place in what a stage has provided."""
    for place, payload in enumerate(payloads):
        payload.places[1 + position] = (chunk, place)
    if (mark := stage.use.stage.degrades) is not None:
        for place in np.flatnonzero(chunk.columns[mark]).tolist():
            payloads[place].degraded += (stage.name,)


def stand_in(stage: BoundStage, payloads: Sequence[Payload]) -> Batch:
    """The columns that stand for those of a stage which is not run: what is configured, else 0.

    Narrowing is not done by it: every row goes on.
    """
    splits = _view_splits(stage, _Joint(stage, payloads))
    rows = {Level.ITEM: int(splits[-1]), Level.REQUEST: len(payloads)}
    columns: dict[str, Array] = {}
    for name, spec in stage.provides.items():
        value: object = b"" if spec.datatype == "BYTES" else stage.use.fallback.get(name, 0)
        if name == stage.use.stage.narrows:
            value = True
        columns[name] = np.full((rows[spec.level], *spec.shape), value, spec.dtype)
    return Batch(columns, splits)


def answer(pipeline: Pipeline, payload: Payload) -> dict[str, Array]:
    """The output columns of one finished event, as views where they were made."""
    columns = {}
    for name, source in pipeline.output_sources.items():
        place = payload.places[1 + source]
        assert place is not None, f"event answered before {name!r} was made"
        level = pipeline.outputs[name].column.level
        column = _rows(place[0], name, level, place[1], place[1] + 1)
        stage = pipeline.stages[source]
        if stage.view and level is Level.ITEM:
            column = convert(column, stage.view, ALL_ROWS, _Joint(stage, (payload,)).kept)
        columns[name] = column
    return columns


class _Joint:
    """Where the rows of some events lie and which of them go on, found out when first asked."""

    __slots__ = ("_kept", "_masks", "_spans", "payloads")

    def __init__(self, stage: BoundStage, payloads: Sequence[Payload]) -> None:
        self.payloads = payloads
        self._masks = stage.masks
        self._spans: dict[int, list[Span]] = {}
        self._kept: dict[int, Kept] = {}

    def spans(self, source: int) -> list[Span]:
        found = self._spans.get(source)
        if found is None:
            found = self._spans[source] = _spans(self.payloads, source)
        return found

    def column(self, name: str, level: Level, source: int) -> Array:
        """All rows of what a source has provided, a view where it can be."""
        if source == REQUEST and len(self.payloads) > 1:  # chunks of one event each
            return np.concatenate([payload.request.columns[name] for payload in self.payloads])
        spans = self.spans(source)
        parts = [_rows(chunk, name, level, start, stop) for chunk, start, stop in spans]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def kept(self, narrowing: int) -> Kept:
        """What a narrowing stage has let through."""
        if narrowing not in self._kept:
            mask = self.column(self._masks[narrowing], Level.ITEM, narrowing)
            self._kept[narrowing] = kept_of(mask)
        return self._kept[narrowing]


def _join_views(stage: BoundStage, payloads: Sequence[Payload], moment: Moment) -> Batch:
    """`join_batch` of a stage that sees some of the rows only, or reads what the engine tells."""
    joint, view = _Joint(stage, payloads), stage.view
    columns: dict[str, Array] = {}
    for name, source in stage.sources.items():
        if source == ENGINE:
            columns[name] = _engine_column(name, payloads, moment)
            continue
        level = stage.inputs[name].level
        column = joint.column(name, level, source)
        if level is Level.ITEM and (have := stage.source_views[name]) != view:
            column = convert(column, have, view, joint.kept)
        columns[name] = column
    return Batch(columns, _view_splits(stage, joint))


def _view_splits(stage: BoundStage, joint: _Joint) -> NDArray[np.int64]:
    """Row splits of what a stage sees: those of a chunk of just these rows, else summed up anew."""
    for name, source in stage.sources.items():
        if source >= 0 and stage.source_views[name] == stage.view:
            (chunk, start, stop), *others = joint.spans(source)
            if start == 0 and not others:
                return chunk.splits[: stop + 1]
    splits = _row_splits(joint.payloads)
    for narrowing in stage.view:
        splits = narrow_splits(splits, joint.kept(narrowing))
    return splits


def _engine_column(name: str, payloads: Sequence[Payload], moment: Moment) -> Array:
    spec, count = ENGINE_COLUMNS[name], len(payloads)
    match name:
        case "engine.now_ns":
            return np.full(count, moment.now_ns, spec.dtype)
        case "engine.pressure":
            return np.full(count, moment.pressure / 1000, spec.dtype)
        case "engine.stood_in":
            return np.array([payload.stood_in for payload in payloads], spec.dtype)
        case "engine.tenant":
            return np.array([payload.tenant for payload in payloads], spec.dtype)
        case _:
            left = [_time_left_ns(payload.due_ns, moment.now_ns) for payload in payloads]
            return np.array(left, spec.dtype)


def _time_left_ns(due_ns: int, now_ns: int) -> int:
    return NO_TARGET_LEFT_NS if due_ns == NEVER_NS else due_ns - now_ns


def _spans(payloads: Sequence[Payload], source: int) -> list[Span]:
    """Where the events' rows lie, neighbours of one chunk taken together."""
    spans: list[Span] = []
    last, start, stop = None, 0, 0
    for payload in payloads:
        place = payload.places[1 + source]
        assert place is not None, "a stage was run before its inputs were made"
        chunk, position = place
        if chunk is last and position == stop:
            stop += 1
            continue
        if last is not None:
            spans.append((last, start, stop))
        last, start, stop = chunk, position, position + 1
    assert last is not None, "a batch has an event"
    spans.append((last, start, stop))
    return spans


def _rows(chunk: Batch, name: str, level: Level, start: int, stop: int) -> Array:
    if start == 0 and stop == chunk.event_count:
        return chunk.columns[name]
    if level is Level.ITEM:
        start, stop = chunk.splits.item(start), chunk.splits.item(stop)
    return chunk.columns[name][start:stop]


def _row_splits(payloads: Sequence[Payload]) -> NDArray[np.int64]:
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
