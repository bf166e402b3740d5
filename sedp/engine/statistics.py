"""Frozen snapshots of the scheduler's counters; metrics and dashboards are made from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sedp.engine.events import Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.histogram import HistogramSnapshot
from sedp.engine.stage_state import PipelineState, StageState


@dataclass(frozen=True, slots=True)
class PipelineStatistics:
    """`latency_ns` is arrival to answer, answered events only.

    Args:
        in_flight_max: more are refused; a level, as `in_flight`.
        degraded: answers, by the stage that fell short.
        pressure: of a newcomer now, in permille; 0 where there is no target.
    """

    name: str
    in_flight: int
    outcomes: Mapping[Outcome, int]
    latency_ns: HistogramSnapshot
    in_flight_max: int = 0
    degraded: Mapping[str, int] = field(default_factory=dict)
    pressure: int = 0


@dataclass(frozen=True, slots=True)
class StageStatistics:
    """`queue_*` and `running` are levels, the rest counts from the start.

    `failures`, `timeouts` and `hedges` count runs; `fallbacks` events that went on with columns
    that stood in, `skips` those of them where load was the reason.

    Args:
        plan: the knobs now.
        breaker: "closed", "open" or "probing"; "" where there is none.
    """

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
    plan: StagePlan = field(default_factory=StagePlan)
    fallbacks: int = 0
    skips: int = 0
    timeouts: int = 0
    hedges: int = 0
    breaker: str = ""


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    pipelines: tuple[PipelineStatistics, ...]
    stages: tuple[StageStatistics, ...]


def pipeline_statistics(state: PipelineState, now_ns: int) -> PipelineStatistics:
    admission = state.admission
    return PipelineStatistics(
        name=state.node.name,
        in_flight=state.in_flight,
        outcomes={outcome: state.outcomes[outcome] for outcome in Outcome},
        latency_ns=state.latency_ns.snapshot(),
        in_flight_max=state.in_flight_max,
        pressure=0 if admission is None else admission.pressure(now_ns, state),
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
        plan=state.plan,
        fallbacks=state.fallbacks,
        skips=state.skips,
        timeouts=state.timeouts,
        hedges=state.hedges,
        breaker="" if state.breaker is None else state.breaker.state,
    )
