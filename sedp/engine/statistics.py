"""Frozen snapshots of the scheduler's counters; metrics and dashboards are made from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sedp.engine.events import Outcome
from sedp.engine.histogram import HistogramSnapshot
from sedp.engine.stage_state import PipelineState, StageState


@dataclass(frozen=True, slots=True)
class PipelineStatistics:
    """`latency_ns` is arrival to answer, answered events only."""

    name: str
    in_flight: int
    outcomes: Mapping[Outcome, int]
    latency_ns: HistogramSnapshot


@dataclass(frozen=True, slots=True)
class StageStatistics:
    """`queue_*` and `running` are levels, the rest counts from the start; `failures` in batches."""

    name: str
    pipeline: str
    queue_rows: int
    queue_events: int
    running: int
    batches: int
    events: int
    rows: int
    failures: int
    wait_ns: HistogramSnapshot
    service_ns: HistogramSnapshot
    batch_rows: HistogramSnapshot


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    pipelines: tuple[PipelineStatistics, ...]
    stages: tuple[StageStatistics, ...]


def pipeline_statistics(state: PipelineState) -> PipelineStatistics:
    outcomes = {outcome: state.outcomes[outcome] for outcome in Outcome}
    return PipelineStatistics(
        state.node.name, state.in_flight, outcomes, state.latency_ns.snapshot()
    )


def stage_statistics(state: StageState, pipeline: str) -> StageStatistics:
    return StageStatistics(
        name=state.node.name,
        pipeline=pipeline,
        queue_rows=state.queue.rows,
        queue_events=len(state.queue),
        running=state.running,
        batches=state.batches,
        events=state.events,
        rows=state.rows,
        failures=state.failures,
        wait_ns=state.queue.waits.snapshot(),
        service_ns=state.service_ns.snapshot(),
        batch_rows=state.batch_rows.snapshot(),
    )
