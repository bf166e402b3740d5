"""What the settings of a pipeline come to for those who manage its load.

The graph itself holds what the engine must know. Here is the rest: who decides at the door, and how
far which knobs may be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sedp.config.manager_settings import AdmissionName, BoundsSettings, Executor
from sedp.config.pipeline_settings import PipelineSettings, StageSettings
from sedp.engine.graph import StageCare, StagePlan

COUNTERS: AdmissionName = "counters"

Range = tuple[int, int]
"""Least and most, both allowed."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the knobs of one pipeline are moved.

    Args:
        every_ns: between two looks.
        plan_path: file of knobs to start from, absolute; `None` keeps none.
        limits: that the config sets, by stage and knob: `concurrency`, `batch_rows`,
            `batch_wait_ns`, `queue_rows`.
        writes_plan: whether what was learned is written to that file.
        executors: that may be chosen from, by stage; only of stages whose config names some, for
            where a stage runs is its operator's word, or the engine's by measured time.
    """

    every_ns: int
    plan_path: Path | None
    limits: Mapping[str, Mapping[str, Range]]
    writes_plan: bool = True
    executors: Mapping[str, tuple[Executor, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Management:
    """How the load of one pipeline is managed.

    Args:
        admission: name of the controller at the door.
        user: input that says whose request it is; "" when none does.
        isolates_tenants: whether a greedy one must not move the others' latency.
        tuning: `None` leaves the knobs as they are.
    """

    admission: AdmissionName = COUNTERS
    user: str = ""
    tuning: Tuning | None = None
    isolates_tenants: bool = False

    def with_plan_written(self, writes_plan: bool) -> Management:
        """The same, which keeps what is learned or does not."""
        tuning = self.tuning and replace(self.tuning, writes_plan=writes_plan)
        return replace(self, tuning=tuning)


UNMANAGED = Management()


def manage(settings: PipelineSettings, folder: Path) -> Management:
    """Of one pipeline whose settings fit together.

    Args:
        folder: where relative paths start.
    """
    return Management(
        choose_admission(settings),
        settings.user or "",
        _tune(settings, folder),
        isolates_tenants=settings.slo is not None and settings.slo.isolate_tenants,
    )


def choose_admission(settings: PipelineSettings) -> AdmissionName:
    """The one that is named, or the one that fits."""
    return settings.admission or ("predicted_wait" if settings.slo else COUNTERS)


def stage_plan(stage: StageSettings) -> StagePlan:
    """The knobs that a stage starts with."""
    batch = stage.batch
    return StagePlan(stage.concurrency, batch.rows_max, batch.wait_ns, stage.queue_rows_max)


def stage_care(stage: StageSettings) -> StageCare:
    """What is done when a stage is slow, fails, or can be done without."""
    breaker = stage.breaker
    return StageCare(
        timeout_ns=stage.timeout_ns,
        has_fallback=stage.fallback is not None,
        skip_above=round(1000 * stage.skip_above),
        hedge_ns=stage.hedge_ns,
        breaker_share=round(1000 * breaker.share) if breaker else 0,
        breaker_pause_ns=breaker.pause_ns if breaker else StageCare().breaker_pause_ns,
    )


def _tune(settings: PipelineSettings, folder: Path) -> Tuning | None:
    tuning = settings.tuning
    if tuning is None or not tuning.enabled:
        return None
    limits = {name: _limits(stage.bounds) for name, stage in settings.stages.items()}
    path = None if tuning.plan is None else (folder / tuning.plan).resolve()
    executors = {
        name: stage.bounds.executors
        for name, stage in settings.stages.items()
        if stage.bounds is not None and stage.bounds.executors is not None
    }
    return Tuning(tuning.every_ns, path, limits, executors=executors)


def _limits(bounds: BoundsSettings | None) -> dict[str, Range]:
    if bounds is None:
        return {}
    written = {
        "concurrency": bounds.concurrency,
        "batch_rows": bounds.batch_rows,
        "batch_wait_ns": bounds.batch_wait,
        "queue_rows": bounds.queue_rows,
    }
    return {knob: (pair[0], pair[1]) for knob, pair in written.items() if pair is not None}
