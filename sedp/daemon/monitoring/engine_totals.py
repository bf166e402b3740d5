"""What the engines of a process have counted, those that were replaced included.

Counters never fall while a pipeline is known: whoever watches them cannot tell that it was loaded
anew. Levels are those of the engines that still run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sedp.daemon.monitoring.merging import merge, past
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.engine.statistics import EngineStatistics
from sedp.pipeline import Pipeline

NOTHING = EngineStatistics((), ())


class EngineTotals:
    """Remembers engines that have ended."""

    def __init__(self) -> None:
        self._past = NOTHING

    def remember(self, engine: EngineStatistics) -> None:
        """Keep what an engine counted that is about to be closed."""
        ended = past(_daemon(engine)).engine
        self._past = _merge([self._past, ended])

    def total(
        self, running: Sequence[EngineStatistics], pipelines: Mapping[str, Pipeline]
    ) -> EngineStatistics:
        """Of running and ended engines.

        Args:
            pipelines: what else was counted is left out, and forgotten.
        """
        if self._past.pipelines:
            self._past = _known(self._past, pipelines)
        return _known(_merge([*running, self._past]), pipelines)


def _merge(parts: Sequence[EngineStatistics]) -> EngineStatistics:
    return merge([_daemon(part) for part in parts]).engine


def _daemon(engine: EngineStatistics) -> DaemonStatistics:
    return DaemonStatistics(False, 0, engine, None, {}, 0)


def _known(engine: EngineStatistics, pipelines: Mapping[str, Pipeline]) -> EngineStatistics:
    stages = {(name, stage.name) for name, p in pipelines.items() for stage in p.stages}
    return EngineStatistics(
        tuple(pipeline for pipeline in engine.pipelines if pipeline.name in pipelines),
        tuple(stage for stage in engine.stages if (stage.pipeline, stage.name) in stages),
    )
