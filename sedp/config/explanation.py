"""A compiled config in plain words and numbers, for people and for scripts.

Says what the file leaves to be worked out: in which order the stages run, which column comes from
where with which type, every knob with its default, and how much memory columns can take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sedp.columns import ColumnSpec, Level
from sedp.config.loading import Config
from sedp.config.management import Management
from sedp.config.threads import plan
from sedp.cores import usable_cores
from sedp.manager.thread_plan import ThreadPlan
from sedp.pipeline import ENGINE, REQUEST, BoundStage, Pipeline

OTHER_SOURCES = {REQUEST: "request", ENGINE: "engine"}


@dataclass(frozen=True, slots=True)
class Flow:
    """A column on its way: who provides it, and what it is."""

    name: str
    type: str
    source: str


@dataclass(frozen=True, slots=True)
class CareExplanation:
    """What is done when a stage is slow, fails, or can be done without; zeros do nothing.

    Args:
        fallback: value of each column where the stage did not run; `None` when there is none.
        skip_above: pressure, 1 being the target.
        breaker_share: of the last runs.
    """

    timeout_ns: int
    fallback: Mapping[str, float] | None
    skip_above: float
    hedge_ns: int
    breaker_share: float
    breaker_pause_ns: int


@dataclass(frozen=True, slots=True)
class StageExplanation:
    """A stage in its place; `after` names all stages it waits for."""

    name: str
    stage_class: str
    reads: tuple[Flow, ...]
    writes: tuple[Flow, ...]
    after: tuple[str, ...]
    executor: str
    concurrency: int
    batch_rows_max: int
    batch_wait_ns: int
    queue_rows_max: int
    care: CareExplanation


@dataclass(frozen=True, slots=True)
class PipelineExplanation:
    """A pipeline; `stages` in an order in which they can run.

    Args:
        target_ns: for the latency of 99 of 100 answers; 0 when there is none.
        tuned: whether the knobs of its stages are moved.
        event_bytes_max: all columns of one event of `rows_max` rows together; of BYTES columns
            only the references count, their texts are limited by the daemon's body_bytes_max.
        in_flight_bytes_max: the same for `in_flight_max` events.
    """

    name: str
    deadline_ns: int
    rows_max: int
    in_flight_max: int
    target_ns: int
    admission: str
    levels: int
    tuned: bool
    event_bytes_max: int
    in_flight_bytes_max: int
    inputs: tuple[Flow, ...]
    stages: tuple[StageExplanation, ...]
    outputs: tuple[Flow, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a config comes to; addresses and paths as text.

    Args:
        workers: processes that serve, on this machine.
        cores: that they may use together.
        threads: of each of them.
    """

    path: str
    listen: str
    admin: str
    store: str | None
    pipelines: tuple[PipelineExplanation, ...]
    workers: int
    cores: int
    threads: ThreadPlan


def explain(config: Config) -> Explanation:
    """What `config` comes to when it is served here."""
    daemon, here = config.daemon, usable_cores()
    workers = here if daemon.workers == "auto" else daemon.workers
    cores = here if daemon.threads == "auto" else daemon.threads
    return Explanation(
        str(config.path),
        str(config.daemon.listen),
        str(config.daemon.admin),
        config.store.path if config.store else None,
        tuple(_explain_pipeline(p, config.management[p.name]) for p in config.pipelines),
        workers,
        cores,
        plan(config.runs, cores, workers),
    )


def _explain_pipeline(pipeline: Pipeline, management: Management) -> PipelineExplanation:
    inputs = {name: tensor.column for name, tensor in pipeline.inputs.items()}
    provided = [spec for stage in pipeline.stages for spec in stage.provides.values()]
    event_bytes = _count_bytes([*inputs.values(), *provided], pipeline.rows_max)
    return PipelineExplanation(
        pipeline.name,
        pipeline.deadline_ns,
        pipeline.rows_max,
        pipeline.in_flight_max,
        pipeline.target_ns,
        management.admission,
        pipeline.levels,
        management.tuning is not None,
        event_bytes,
        event_bytes * pipeline.in_flight_max,
        _flows(inputs, dict.fromkeys(inputs, REQUEST), pipeline),
        tuple(_explain_stage(stage, pipeline) for stage in pipeline.stages),
        _flows(
            {name: tensor.column for name, tensor in pipeline.outputs.items()},
            pipeline.output_sources,
            pipeline,
        ),
    )


def _explain_stage(stage: BoundStage, pipeline: Pipeline) -> StageExplanation:
    kind = type(stage.use.stage)
    written = dict.fromkeys(stage.provides, pipeline.stages.index(stage))
    return StageExplanation(
        stage.name,
        f"{kind.__module__}:{kind.__qualname__}",
        _flows(stage.inputs, stage.sources, pipeline),
        _flows(stage.provides, written, pipeline),
        tuple(pipeline.stages[position].name for position in stage.predecessors),
        stage.use.executor,
        stage.use.plan.concurrency,
        stage.use.plan.batch_rows_max,
        stage.use.plan.batch_wait_ns,
        stage.use.plan.queue_rows_max,
        _explain_care(stage),
    )


def _explain_care(stage: BoundStage) -> CareExplanation:
    care, given = stage.use.care, stage.use.fallback
    return CareExplanation(
        care.timeout_ns,
        {column: given.get(column, 0) for column in stage.provides} if care.has_fallback else None,
        care.skip_above / 1000,
        care.hedge_ns,
        care.breaker_share / 1000,
        care.breaker_pause_ns,
    )


def _flows(
    columns: Mapping[str, ColumnSpec], sources: Mapping[str, int], pipeline: Pipeline
) -> tuple[Flow, ...]:
    def name_source(position: int) -> str:
        return OTHER_SOURCES.get(position) or pipeline.stages[position].name

    return tuple(
        Flow(name, str(spec), name_source(sources[name])) for name, spec in columns.items()
    )


def _count_bytes(specs: Iterable[ColumnSpec], rows_max: int) -> int:
    return sum(
        spec.dtype.itemsize * math.prod(spec.shape) * (rows_max if spec.level is Level.ITEM else 1)
        for spec in specs
    )
