"""Candidate cut, what training reads: both scores of requests that nobody cut.

The stages are run in their order on whole batches, in this process, with everything kept: what the
scheduler would do with them changes no score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.errors import ConfigError
from sedp.pipeline import ENGINE, BoundStage, Pipeline
from sedp.stages.candidate_cut import CandidateCut
from sedp.stages.cut_training import ScoredRequests


def find_cut(pipeline: Pipeline) -> tuple[str, CandidateCut]:
    """The name and the stage of the pipeline's candidate cut.

    Raises:
        ConfigError: it has none, or several.
    """
    found = [
        (bound.name, bound.use.stage)
        for bound in pipeline.stages
        if isinstance(bound.use.stage, CandidateCut)
    ]
    if len(found) != 1:
        raise ConfigError(
            f"pipeline {pipeline.name!r} has {len(found)} stages of kind 'candidate_cut'; training "
            "needs exactly one"
        )
    return found[0]


def score_requests(
    pipeline: Pipeline, batches: Iterable[Batch], score: str
) -> tuple[ScoredRequests, dict[str, Array]]:
    """Run requests through all stages up to the one that provides `score`.

    Args:
        pipeline: its stages are open but for the candidate cut, which may lack its weights.
        batches: one or more, with the columns of the pipeline's inputs.
        score: an FP32 item column.

    Returns:
        Both scores of all candidates, and the columns that the cheap one is made of.

    Raises:
        ConfigError: no stage provides such a column.
    """
    _, cut = find_cut(pipeline)
    stages = _stages_to(pipeline, score)
    parts: dict[str, list[Array]] = {name: [] for name in (*cut.requires, score)}
    rows: list[Array] = []
    for batch in batches:
        columns = _columns(stages, batch)
        for name, part in parts.items():
            part.append(columns[name])
        rows.append(np.diff(batch.splits))
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    splits = np.concatenate([[0], np.cumsum(np.concatenate(rows))]).astype(np.int64)
    cheap = cut.params.score.of(joined)
    used = {name: joined[name] for name in cut.params.score.requires()}
    return ScoredRequests(cheap, np.ascontiguousarray(joined[score]), splits), used


def _stages_to(pipeline: Pipeline, score: str) -> list[BoundStage]:
    wanted = ColumnSpec("FP32", Level.ITEM)
    for position, bound in enumerate(pipeline.stages):
        if bound.provides.get(score) == wanted:
            return list(pipeline.stages[: position + 1])
    raise ConfigError(
        f"pipeline {pipeline.name!r}: no stage provides a column {score!r} of type {wanted}; "
        "name the column of the full score"
    )


def _columns(stages: list[BoundStage], batch: Batch) -> Mapping[str, Array]:
    columns = dict(batch.columns)
    for bound in stages:
        for name, source in bound.sources.items():
            if source == ENGINE:  # at rest all that it tells is 0
                columns[name] = np.zeros(batch.event_count, bound.inputs[name].dtype)
        if isinstance(bound.use.stage, CandidateCut):
            cut = bound.use.stage.params
            columns[cut.kept] = np.ones(batch.row_count, np.bool_)
            columns[cut.cut] = np.zeros(batch.event_count, np.bool_)
        else:
            read = {name: columns[name] for name in bound.inputs}
            columns |= bound.use.stage.process(Batch(read, batch.splits))
    return columns
