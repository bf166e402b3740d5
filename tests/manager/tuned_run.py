"""A tuner at work under the virtual clock: the live scheduler, simulated runs on shared cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from sedp.engine.events import AnyStimulus, PlanChanged
from sedp.engine.graph import Graph, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.manager.admission.registry import make_admission
from sedp.manager.moves import Move, change_executors, change_plans
from sedp.manager.observation import Observation, PipelineSeen, merge, observe, share_below
from sedp.manager.tuner import Tuner
from sedp.simulator.arrival import Arrival
from sedp.simulator.held_loop import HeldLoop
from sedp.simulator.service import LinearService, StageCost

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs cost, and on how many cores they share.

    Args:
        hop_ns: what a run in a thread costs more than an inline one.
    """

    costs: tuple[StageCost, ...]
    cores: int
    target_ns: int
    hop_ns: int = 0

    def serve(
        self,
        graph: Graph,
        arrivals: Iterable[Arrival],
        tuner: Tuner | None = None,
        *,
        admission: str = "counters",
        executors: Sequence[str] = (),
        distort: Callable[[Observation], Observation] = lambda observation: observation,
    ) -> TunedRun:
        """Serve all arrivals, with a window of a second.

        Args:
            admission: the controller at the door, by its name in a config.
            executors: where stages run at first, `inline` or `thread`; empty is in threads.
            distort: what the tuner is made to believe.
        """
        admissions = [make_admission(admission, self.target_ns, 1) for _ in graph.pipelines]
        scheduler = Scheduler(graph, admissions)
        run = TunedRun([], [])
        numbers = {
            (graph.pipelines[node.pipeline].name, node.name): number
            for number, node in enumerate(graph.stages)
        }
        places = list(executors)
        targets_ns = {pipeline.name: self.target_ns for pipeline in graph.pipelines}
        before = scheduler.statistics()

        def tick(now_ns: int) -> Sequence[AnyStimulus]:
            nonlocal before
            after = scheduler.statistics(now_ns)
            seen = observe(
                before,
                after,
                graph=graph,
                targets_ns=targets_ns,
                now_ns=now_ns,
                window_ns=SECOND_NS,
                cores=self.cores,
                executors=tuple(places),
            )
            before = after
            run.windows.append(seen)
            moves = tuner.step(distort(seen)) if tuner else ()
            run.moves.extend(moves)
            for key, executor in change_executors(moves).items():
                places[numbers[key]] = executor
            changed = change_plans({stage.key: stage.plan for stage in seen.stages}, moves)
            return [PlanChanged(numbers[key], plan) for key, plan in changed.items()]

        HeldLoop(
            scheduler,
            LinearService(self.costs),
            np.random.default_rng(1),
            is_inline=lambda stage: bool(places) and places[stage] == "inline",
            hop_ns=self.hop_ns,
            cores=self.cores,
            ticks=(SECOND_NS, tick),
        ).run(arrivals)
        return run


@dataclass(frozen=True, slots=True)
class TunedRun:
    """What was seen in each second, and moved."""

    windows: list[Observation]
    moves: list[Move]

    def seen(self, start_s: int, stop_s: int) -> PipelineSeen:
        """The first pipeline from one second to another."""
        return reduce(merge, self.windows[start_s:stop_s]).pipelines[0]

    def answered_s(self, start_s: int, stop_s: int) -> float:
        return self.seen(start_s, stop_s).answered / (stop_s - start_s)

    def in_time_s(self, start_s: int, stop_s: int) -> float:
        """Events a second answered within the target."""
        seen = self.seen(start_s, stop_s)
        share = share_below(seen.latency_ns, seen.target_ns)
        return share * seen.answered / (stop_s - start_s)

    def moved_s(self) -> list[int]:
        """The seconds in which something was moved."""
        return sorted({move.at_ns // SECOND_NS for move in self.moves})

    @property
    def executors(self) -> list[str]:
        """The last ones."""
        return [stage.executor for stage in self.windows[-1].stages]

    @property
    def plans(self) -> list[StagePlan]:
        """The last ones."""
        return [stage.plan for stage in self.windows[-1].stages]
