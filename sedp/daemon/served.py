"""A pipeline of the repository: how it is opened, what answers, and what is told of it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sedp.daemon.oip_request import RequestReader
from sedp.daemon.warm_up import StageOpener, close_stages
from sedp.errors import SedpError
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
