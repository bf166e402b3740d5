"""The knobs in force of the pipelines that are served, and changes of them.

Invariant: what is told here is what the engines and the door go by, for every pipeline that is
tuned. Others may be changed by a reload without this being told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sedp.daemon.in_flight_bytes import BytesStatistics, InFlightBytes
from sedp.daemon.plan_file import LearnedPlan, LearnedStage
from sedp.daemon.served import Served
from sedp.engine.graph import StagePlan
from sedp.manager.cost_model import Cost
from sedp.manager.moves import Move, change_bytes, change_executors, change_plans
from sedp.manager.observation import BytesSeen, StageKey


class KnobsInForce:
    """Of all pipelines of a process.

    Args:
        in_flight: the process's account of bytes.
    """

    def __init__(self, in_flight: InFlightBytes) -> None:
        self._in_flight = in_flight
        self._served: Mapping[str, Served] = {}
        self._plans: dict[StageKey, StagePlan] = {}
        self._executors: dict[StageKey, str] = {}
        self._bytes_before: Mapping[str, BytesStatistics] = {}

    @property
    def executors(self) -> Mapping[StageKey, str]:
        """Of every stage, pipeline by pipeline and in their order."""
        return self._executors

    @property
    def inline(self) -> list[bool]:
        """Whether runs are on the event loop now, in the same order."""
        return [run.inline for one in self._served.values() for run in one.engine.operators]

    @property
    def held(self) -> dict[str, BytesStatistics]:
        """Bytes of requests, by pipeline that is tuned."""
        return {part.name: part.statistics() for part in self._in_flight.parts()}

    def places(self, served: Served) -> dict[str, dict[str, int]]:
        """Where this process runs each stage of a pipeline, as counts of processes."""
        operators = served.engine.operators
        return {run.stage.name: {"inline" if run.inline else "thread": 1} for run in operators}

    def follow(self, served: Sequence[Served]) -> None:
        """Others are served now: those that stay keep their knobs, others begin with their own."""
        kept = {id(one.engine) for one in self._served.values()}
        plans, executors = self._plans, self._executors
        self._plans, self._executors = {}, {}
        for one in served:
            stays = id(one.engine) in kept
            for bound in one.pipeline.stages:
                key = one.pipeline.name, bound.name
                self._plans[key] = plans[key] if stays else bound.use.plan
                self._executors[key] = executors[key] if stays else bound.use.executor
        self._served = {one.pipeline.name: one for one in served}
        shared = {part.name for part in self._in_flight.parts()}
        self._in_flight.divide(one.pipeline.name for one in served if one.management.tuning)
        for part in self._in_flight.parts():
            learned = self._served[part.name].learned
            if part.name not in shared and learned and learned.in_flight_bytes_max:
                part.bytes_max = min(learned.in_flight_bytes_max, self._in_flight.bytes_max)
        self._bytes_before = self.held

    def change(self, moves: Sequence[Move]) -> None:
        """Make the moves."""
        plans = change_plans(self._plans, moves)
        for key, plan in plans.items():
            self._served[key[0]].engine.change_plan(self._position(key), plan)
        executors = change_executors(moves)
        for key, executor in executors.items():
            operators = self._served[key[0]].engine.operators
            operators[self._position(key)].change_executor(executor)
        self._plans |= plans
        self._executors |= executors
        bytes_max = change_bytes(moves)
        for part in self._in_flight.parts():
            part.bytes_max = bytes_max.get(part.name, part.bytes_max)

    def learned(
        self, served: Served, costs: Mapping[StageKey, Cost], ram_bytes: int | None
    ) -> LearnedPlan:
        """What a pipeline would begin with, were it opened anew.

        Args:
            ram_bytes: of the store in force, where that may be moved.
        """
        name = served.pipeline.name
        keys = {bound.name: (name, bound.name) for bound in served.pipeline.stages}
        return LearnedPlan(
            name,
            {
                stage: LearnedStage.of(self._plans[key], costs.get(key), self._executors[key])
                for stage, key in keys.items()
            },
            in_flight_bytes_max=self._in_flight.of(name).bytes_max,
            ram_bytes=ram_bytes,
        )

    def see_bytes(self) -> dict[str, BytesSeen]:
        """What was held since this was last asked, by pipeline."""
        before, self._bytes_before = self._bytes_before, self.held
        return {
            name: BytesSeen(
                now.bytes_max,
                self._in_flight.bytes_max,
                now.requests - then.requests,
                now.request_bytes - then.request_bytes,
                now.stay_ns - then.stay_ns,
                now.largest,
                now.refused - then.refused,
            )
            for name, now in self._bytes_before.items()
            if (then := before.get(name)) is not None
        }

    def _position(self, key: StageKey) -> int:
        names = [bound.name for bound in self._served[key[0]].pipeline.stages]
        return names.index(key[1])
