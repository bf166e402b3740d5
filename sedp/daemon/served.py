"""A pipeline of the repository: how it is opened, what answers, and what is told of it."""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sedp.daemon.oip.request import RequestReader
from sedp.daemon.warm_up import StageOpener, close_stages
from sedp.engine.stimulus_log import StimulusLog
from sedp.errors import ConfigError, SedpError
from sedp.live import Engine
from sedp.pipeline import Pipeline


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
        asked_ns: when its last request arrived, on the monotonic clock; 0 before the first.
    """

    pipeline: Pipeline
    engine: Engine
    reader: RequestReader
    asked_ns: int = 0


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

    def start(self, pipeline: Pipeline) -> Engine:
        """An engine for one pipeline whose stages are open.

        Raises:
            ConfigError: the log cannot be written.
        """
        if self._log_path is None:
            return Engine([pipeline])
        path = self._choose_path(self._log_path, pipeline.name)
        try:
            return Engine([pipeline], stimulus_log=lambda graph: StimulusLog(path, graph))
        except OSError as err:
            mend = "name a file to write"
            raise ConfigError(f"stimulus log {path}: {err.strerror}; {mend}") from err

    def _choose_path(self, path: Path, pipeline: str) -> Path:
        self._starts[pipeline] += 1
        number = self._starts[pipeline]
        name = f".{pipeline}" if self._pipelines > 1 else ""
        return path.with_name(f"{path.stem}{name}{f'.{number}' if number > 1 else ''}{path.suffix}")


@dataclass(frozen=True, slots=True)
class PipelineOpener:
    """From compiled pipelines to ones that answer, and back.

    Args:
        stages: opens theirs.
        start_engine: makes an engine for one pipeline whose stages are open.
        tensors_max: most tensors in a request.
    """

    stages: StageOpener
    start_engine: Callable[[Pipeline], Engine]
    tensors_max: int

    async def open(self, pipelines: Sequence[Pipeline]) -> dict[str, Served]:
        """All of them by name, or none.

        Raises:
            SedpError: one cannot be opened; nothing stays open.
        """
        await self.stages.open(pipelines)
        fresh: dict[str, Served] = {}
        try:
            for pipeline in pipelines:
                engine = self.start_engine(pipeline)
                fresh[pipeline.name] = Served(
                    pipeline, engine, RequestReader(pipeline, self.tensors_max)
                )
        except SedpError:
            for served in fresh.values():
                served.engine.close()
            for pipeline in pipelines:
                close_stages(pipeline)
            raise
        return fresh

    async def close(self, served: Served) -> None:
        """Its engine and stages; no event may be in flight."""
        served.engine.close()
        await asyncio.to_thread(close_stages, served.pipeline)
