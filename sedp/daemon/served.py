"""A pipeline of the repository: how it is opened, what answers, and what is told of it."""

from __future__ import annotations

import asyncio
import enum
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from sedp.answer import Answer, Unanswered
from sedp.config.loading import Config
from sedp.config.management import UNMANAGED, Management
from sedp.daemon.admission_post import AdmissionPost
from sedp.daemon.deadlines import least_timeout
from sedp.daemon.monitoring.statistics import OwnCounts
from sedp.daemon.oip.request import InferenceRequest, RequestReader
from sedp.daemon.plan_file import LearnedPlan, begin_with, read_learned
from sedp.daemon.quarantine import Quarantine
from sedp.daemon.standing import Standings
from sedp.daemon.warm_up import StageOpener, close_stages
from sedp.engine.admission import Admission
from sedp.engine.events import NEVER_NS, Outcome
from sedp.engine.statistics import EngineStatistics
from sedp.engine.stimulus_log import StimulusLog
from sedp.errors import ConfigError, SedpError
from sedp.live import Engine
from sedp.pipeline import Pipeline
from sedp.stage import Stage

OWN_LEVELS = frozenset(("bytes", "keys_max"))


class State(enum.StrEnum):
    """As the repository extension of the Open Inference Protocol names them."""

    READY = "READY"
    LOADING = "LOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class PipelineState:
    """One line of the index; `reason` says what is amiss, "" when nothing is."""

    name: str
    version: str
    state: State
    reason: str


@dataclass(slots=True)
class Served:
    """A pipeline that answers.

    Args:
        learned: what was known about it when it was opened.
        asked_ns: when its last request arrived, on the monotonic clock; 0 before the first.
        shed: events by level.
        quarantine: of its requests; a pipeline that is opened anew has mended what failed.
        post: of its admission control, if it has any.
        tenants: their numbers, as the engine knows them.
    """

    pipeline: Pipeline
    engine: Engine
    reader: RequestReader
    management: Management = UNMANAGED
    learned: LearnedPlan | None = None
    asked_ns: int = 0
    quarantine: Quarantine = field(default_factory=Quarantine)
    shed: Counter[int] = field(default_factory=Counter)
    post: AdmissionPost | None = None
    tenants: dict[str, int] = field(default_factory=lambda: {"": 0})
    _standings: Standings = field(init=False)

    def __post_init__(self) -> None:
        self._standings = Standings(self.pipeline, self.management.user, self.tenants)

    async def infer(
        self,
        body: bytes,
        json_bytes: str | None,
        *,
        tenant: str,
        arrived_ns: int,
        deadline_ns: int = NEVER_NS,
    ) -> tuple[InferenceRequest, Answer]:
        """What is asked, and the answer.

        Args:
            body, json_bytes: see `RequestReader.read`.
            tenant: of the caller.
            arrived_ns, deadline_ns: on the monotonic clock; the deadline as far as it is not in
                the request, nor the pipeline's.

        Raises:
            RequestError: the request is wrong.
            Unanswered: refused, too late, or failed.
        """
        self.asked_ns = arrived_ns
        digest = self.quarantine.check(body, arrived_ns)
        request = self.reader.read(body, json_bytes)
        allowed_ns = least_timeout(self.pipeline.deadline_ns, request.timeout_ns)
        deadline_ns = min(deadline_ns, arrived_ns + allowed_ns)
        standing = self._standings.place(request, tenant, arrived_ns)
        try:
            answer = await self.engine.infer(
                self.pipeline.name,
                request.batch,
                deadline_ns=deadline_ns,
                due_ns=standing.due_ns,
                level=standing.level,
                user=standing.user,
                tenant=standing.tenant,
            )
        except Unanswered as err:
            if err.failed:
                self.quarantine.failed(body, time.monotonic_ns())
            elif err.outcome is Outcome.SHED:
                self.shed[standing.level] += 1
                err.level = standing.level
            raise
        if answer.failed:
            self.quarantine.failed(body, time.monotonic_ns())
        else:
            self.quarantine.answered(digest)
        return request, answer

    def feed_back(self, users: Any) -> int:
        """Tell stages that keep answers that these users have acted since.

        Args:
            users: int64[n], as the pipeline's input has them.

        Returns:
            How many stages have been told.
        """
        told = 0
        for bound in self.pipeline.stages:
            stage = bound.use.stage
            if type(stage).feedback is not Stage.feedback:
                stage.feedback(users, time.monotonic_ns())
                told += 1
        return told

    def own_counts(self) -> Iterator[OwnCounts]:
        """Of the stages that count by themselves, as those do that keep answers."""
        for bound in self.pipeline.stages:
            told = bound.use.stage.statistics()
            if is_dataclass(told) and not isinstance(told, type):
                counts = asdict(told)
                levels = {key: counts.pop(key) for key in OWN_LEVELS & counts.keys()}
                yield OwnCounts(self.pipeline.name, bound.name, counts, levels)

    def statistics(self) -> EngineStatistics:
        """Of its engine; what was refused unrun is among the events."""
        engine = self.engine.statistics()
        if not self.quarantine.refused:
            return engine
        [counted] = engine.pipelines
        outcomes = {**counted.outcomes, Outcome.QUARANTINED: self.quarantine.refused}
        return replace(engine, pipelines=(replace(counted, outcomes=outcomes),))


@dataclass(slots=True)
class Place:
    """What there is under one name of the config.

    Args:
        pipeline: as the config has it; what is served may be an older one.
        leaving: closes the one served before; as long as it runs, nothing is changed here.
    """

    pipeline: Pipeline
    served: Served | None = None
    state: State = State.LOADING
    reason: str = ""
    is_changing: bool = False
    leaving: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """Pipelines that are open beside those being served, waiting for `commit` or `discard`.

    Args:
        wanted: all pipelines there shall be, by name, in order.
        fresh: those of them that were opened anew.
        live: those that stay open, and will go by what is wanted.
        places: that are kept from other changes meanwhile.
    """

    wanted: Mapping[str, Pipeline]
    fresh: Mapping[str, Served]
    live: Set[str]
    places: Sequence[Place]


class EngineStarter:
    """Makes engines, each with a log of its own where stimuli are recorded.

    Args:
        log_path: of the log of the first engine; that of another one has the pipeline's name, if
            there are several, and a number from 2, if the pipeline was replaced, before its suffix.
        pipelines: how many there are.
    """

    def __init__(self, log_path: Path | None, pipelines: int) -> None:
        self._log_path = log_path
        self._pipelines = pipelines
        self._starts: Counter[str] = Counter()

    def start(self, pipeline: Pipeline, admission: Admission | None) -> Engine:
        """An engine for one pipeline whose stages are open.

        Raises:
            ConfigError: the log cannot be written.
        """
        admissions = [admission]
        if self._log_path is None:
            return Engine([pipeline], admissions=admissions)
        path = self._choose_path(self._log_path, pipeline.name)
        try:
            return Engine(
                [pipeline],
                stimulus_log=lambda graph: StimulusLog(path, graph),
                admissions=admissions,
            )
        except OSError as err:
            raise ConfigError(f"stimulus log {path}: {err.strerror}; name a file to write") from err

    def _choose_path(self, path: Path, pipeline: str) -> Path:
        self._starts[pipeline] += 1
        number = self._starts[pipeline]
        name = f".{pipeline}" if self._pipelines > 1 else ""
        return path.with_name(f"{path.stem}{name}{f'.{number}' if number > 1 else ''}{path.suffix}")


@dataclass(slots=True)
class PipelineOpener:
    """From compiled pipelines to ones that answer, and back.

    Args:
        stages: opens theirs.
        start_engine: makes an engine for one pipeline whose stages are open.
        tensors_max: most tensors in a request.
        management: of each pipeline by name, as far as there is any; that of a config which is
            being prepared may be put in its place, since pipelines in both have the same then.
        shed: events by pipeline and level, counted on when a pipeline is opened anew.
    """

    stages: StageOpener
    start_engine: Callable[[Pipeline, Admission | None], Engine]
    tensors_max: int
    management: Mapping[str, Management] = field(default_factory=dict)
    shed: dict[str, Counter[int]] = field(default_factory=dict)

    def follow(self, config: Config) -> None:
        """Open pipelines as another config has it."""
        self.management = config.management
        self.stages = self.stages.with_runs(config.runs)

    async def open(self, pipelines: Sequence[Pipeline]) -> dict[str, Served]:
        """All of them by name, or none.

        Raises:
            SedpError: one cannot be opened; nothing stays open.
        """
        await self.stages.open(pipelines)
        fresh: dict[str, Served] = {}
        try:
            for pipeline in pipelines:
                fresh[pipeline.name] = await self._begin(pipeline)
        except SedpError:
            for served in fresh.values():
                served.engine.close()
            for pipeline in pipelines:
                close_stages(pipeline)
            raise
        return fresh

    async def _begin(self, pipeline: Pipeline) -> Served:
        """With the knobs that were learned about it, where they are kept."""
        management = self.management.get(pipeline.name, UNMANAGED)
        learned = await asyncio.to_thread(read_learned, pipeline, management.tuning)
        pipeline = begin_with(pipeline, management.tuning, learned)
        post = AdmissionPost.open(pipeline, management)
        engine = self.start_engine(pipeline, post)
        reader = RequestReader(pipeline, self.tensors_max)
        shed = self.shed.setdefault(pipeline.name, Counter())
        return Served(pipeline, engine, reader, management, learned, shed=shed, post=post)

    async def close(self, served: Served) -> None:
        """Its engine and stages; no event may be in flight."""
        served.engine.close()
        await asyncio.to_thread(close_stages, served.pipeline)
