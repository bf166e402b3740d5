"""All that a decision about one pipeline looks at, taken from the joined windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as replace_fields

from sedp.manager.bounds import Bounds
from sedp.manager.cost_model import Cost
from sedp.manager.forecast import StageLoad, forecast
from sedp.manager.judgement import Window, window_of
from sedp.manager.moves import Expected, Knob
from sedp.manager.observation import Observation, StageKey, StageSeen, interpolate

Change = tuple[int, Knob, int, int, str]  # stage, knob, before, after, reason
SLOTS_PER_RUN = 2  # that is at work: rather too many slots than too few


@dataclass(frozen=True, slots=True)
class Scene:
    """One pipeline at one moment.

    Args:
        stages, loads, bounds: one a stage, in topological order.
        cores: that other pipelines leave to this one.
        stretch: ≥ 1; how much longer runs take because they share the cores.
    """

    now_ns: int
    window: Window
    stages: Sequence[StageSeen]
    loads: Sequence[StageLoad]
    bounds: Sequence[Bounds]
    cores: float
    stretch: float

    def slots_max(self, stage: StageSeen) -> int:
        """More slots than this serve nobody: cores cannot carry them, and few are in use.

        Twice those at work, for a stage whose runs wait for a disk or a net.
        """
        at_work = stage.service_ns.total / self.window.window_ns / self.stretch
        return max(math.ceil(self.cores), math.ceil(SLOTS_PER_RUN * at_work))

    def promise(self, changes: Sequence[Change]) -> Expected:
        """The forecast with other knobs, at the load that was seen."""
        loads = list(self.loads)
        for number, knob, _, after, _ in changes:
            plan = replace_fields(loads[number].plan, **{knob: after})
            loads[number] = replace(loads[number], plan=plan)
        outcome = forecast(loads, self.window.offered_s, self.cores)
        return Expected(1.0, round(outcome.capacity_s, 1), round(outcome.p99_ns))

    def figures(self, stage: StageSeen) -> Mapping[str, float]:
        """What a move of this stage's knobs is explained by."""
        seen = self.window.seen
        return {
            "offered_s": round(self.window.offered_s, 1),
            "answered_s": round(self.window.answered_s, 1),
            "lost_share": round(seen.lost_share, 4),
            "p99_ns": seen.p99_ns,
            "target_ns": seen.target_ns,
            "stage_wait_p99_ns": interpolate(stage.wait_ns, 0.99),
            "stage_service_mean_ns": stage.service_ns.total // max(1, stage.service_ns.count),
            "stage_batch_rows_mean": round(stage.batch_rows.total / max(1, stage.batches), 1),
        }


def set_scene(
    observation: Observation,
    pipeline: str,
    costs: Mapping[StageKey, Cost],
    bounds: Mapping[StageKey, Bounds],
    cores: float,
) -> Scene | None:
    """The scene, or `None` while a stage of the pipeline has not served yet."""
    positions = [n for n, stage in enumerate(observation.stages) if stage.pipeline == pipeline]
    stages = [observation.stages[n] for n in positions]
    if any(not stage.events or stage.key not in costs for stage in stages):
        return None
    loads = [
        StageLoad(
            stage.plan,
            costs[stage.key],
            stage.rows / stage.events,
            tuple(positions.index(n) for n in stage.predecessors),
            stage.inline,
        )
        for stage in stages
    ]
    return Scene(
        observation.now_ns,
        window_of(observation, pipeline),
        stages,
        loads,
        [bounds[stage.key] for stage in stages],
        _own_cores(observation, pipeline, cores),
        max(1.0, observation.running_mean / cores),
    )


def _own_cores(observation: Observation, pipeline: str, cores: float) -> float:
    """What the others leave, at least an equal part."""
    service_ns = sum(s.service_ns.total for s in observation.stages if s.pipeline != pipeline)
    busy = service_ns / observation.window_ns
    stretched = max(1.0, observation.running_mean / cores)
    return max(cores - busy / stretched, cores / len(observation.pipelines))
