"""The tuner: once a window it looks at what was served and may move some knobs towards the target.

Theory of operation. Costs are learned from every window. A pipeline that meets its target is left
alone: that is the dead band, and the reason why steady load sees no moves. One that loses events,
or answers too late, gets the few steps that its forecast says help most, at least 5 % together;
the windows after them show what came, and steps that brought nothing are taken back and not tried
again while the load is the same. Queue bounds are derived, not tried. Everything is deterministic:
the same observations give the same moves.

Prior art: Hercules (Ke 2022) for steps towards the best neighbour, InferLine (Crankshaw 2020) for
a model in front of the moves, SEDA (Welsh 2001) for the observation that queues show it all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sedp.manager.bounds import Bounds, default_bounds
from sedp.manager.byte_bounds import ByteBounds
from sedp.manager.cost_model import Cost, CostModel, stretch
from sedp.manager.moves import Move, MoveLog
from sedp.manager.observation import Observation, StageKey
from sedp.manager.pipeline_tuner import PipelineTuner


class Tuner(Protocol):
    """The port: what to change after each window."""

    def step(self, observation: Observation) -> Sequence[Move]:
        """The moves to be made now, in order; the caller makes them before the next window."""


class ModelTuner:
    """Ours, for all pipelines of a process that have a target.

    Args:
        bounds: of stages whose operator gave some; others get safe defaults.
        costs: learned before, to start from.
        give_way: called again and again while it thinks, where others want the interpreter.
    """

    def __init__(
        self,
        bounds: Mapping[StageKey, Bounds] | None = None,
        costs: Mapping[StageKey, Cost] | None = None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._give_way = give_way
        self.log = MoveLog()
        self.frozen = False
        self._bounds = dict(bounds or {})
        self._models = {key: CostModel(cost) for key, cost in (costs or {}).items()}
        self._pipelines: dict[str, PipelineTuner] = {}
        self._byte_bounds = ByteBounds()

    @property
    def costs(self) -> Mapping[StageKey, Cost]:
        """What was learned so far, of stages that ran."""
        return {key: model.cost for key, model in self._models.items() if model.cost is not None}

    def freeze(self) -> None:
        """Make no move until `thaw`; what is being tried stays as it is, unjudged."""
        self.frozen = True
        for pipeline in self._pipelines.values():
            pipeline.abandon()

    def thaw(self) -> None:
        self.frozen = False

    def step(self, observation: Observation) -> Sequence[Move]:
        cores = _runs_that_fit(observation)
        slots = sum(stage.plan.concurrency for stage in observation.stages)
        stretched = stretch(observation.running_mean, slots, cores)
        for stage in observation.stages:
            model = self._models.setdefault(stage.key, CostModel())
            model.learn(stage, stretched)
        moves: list[Move] = []
        if self.frozen:
            return moves
        for seen in observation.pipelines:
            if seen.target_ns:
                pipeline, bounds = self._pipeline(seen.name), self._bounds_of(observation)
                moves += pipeline.step(observation, self.costs, bounds, cores)
                moves += self._byte_bounds.step(
                    observation, seen, self.costs, bounds, cores, self.log
                )
        return moves

    def _pipeline(self, name: str) -> PipelineTuner:
        if name not in self._pipelines:
            self._pipelines[name] = PipelineTuner(name, self.log, self._give_way)
        return self._pipelines[name]

    def _bounds_of(self, observation: Observation) -> Mapping[StageKey, Bounds]:
        targets_ns = {seen.name: seen.target_ns for seen in observation.pipelines}
        for stage in observation.stages:
            if stage.key not in self._bounds and targets_ns[stage.pipeline]:
                safe = default_bounds(observation.cores, targets_ns[stage.pipeline])
                self._bounds[stage.key] = safe
        return self._bounds


def _runs_that_fit(observation: Observation) -> float:
    """Runs that the cores carry at full speed: more than cores, where runs wait for disks."""
    service_ns = sum(stage.service_ns.total for stage in observation.stages)
    if not observation.cpu_ns or not service_ns:
        return observation.cores
    share = min(1.0, max(0.1, observation.cpu_ns / service_ns))
    return observation.cores / share
