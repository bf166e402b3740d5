"""Opening the stages of pipelines side by side, and their first runs.

Models and tables are read from disk, so opening them one after the other would only wait. A stage
is not served before it has processed its own examples: what a first run costs is then paid, and a
model that cannot run is found while the old one still serves, or before anybody relies on it.

Invariant: after `open` returns all stages are open; after it raises none is.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sedp.config.loading import Config
from sedp.config.threads import Runs, plan
from sedp.cores import usable_cores
from sedp.errors import ConfigError, SedpError, StageError
from sedp.manager.thread_plan import ThreadPlan
from sedp.payload import check_result
from sedp.pipeline import BoundStage, Pipeline, compile_pipeline
from sedp.pipeline_checks import PipelineError
from sedp.stage import Resources, Store

THREADS_MAX = 16  # most of the time is spent in reading and in libraries that let go of the GIL

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageOpener:
    """What stages need to be opened.

    Args:
        folder: of the config file.
        cores: that this process may use.
        store: the parameter store, if there is one.
        runs: of all stages, to share the cores; see `sedp.config.threads`.
    """

    folder: Path
    cores: int
    store: Store | None
    runs: Sequence[Runs] = ()

    @classmethod
    def of(cls, config: Config, store: Store | None) -> StageOpener:
        """As many cores as `daemon.threads` says, a number or "auto"."""
        threads = config.daemon.threads
        cores = threads if isinstance(threads, int) else usable_cores()
        return cls(config.path.parent, cores, store, config.runs)

    @property
    def threads(self) -> ThreadPlan:
        """For stages to be opened."""
        return plan(self.runs, self.cores, workers=1)

    def counts(self) -> Mapping[str, int]:
        """Threads by runtime; variables that the operator has set count."""
        return self.threads.counts(os.environ)

    def with_runs(self, runs: Sequence[Runs]) -> StageOpener:
        """For stages of another config; those that stay open keep their threads."""
        other = replace(self, runs=runs)
        before, after = self.threads.onnx_intra_op, other.threads.onnx_intra_op
        if after < before:
            log.warning("a run gets %d threads, not %d; restart for all to do so", after, before)
        return other

    async def open(self, pipelines: Sequence[Pipeline]) -> None:
        """Open and warm up all stages of all pipelines.

        Raises:
            SedpError: a stage could not; it is named, and the others are closed again.
        """
        stages = [(pipeline.name, stage) for pipeline in pipelines for stage in pipeline.stages]
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(min(THREADS_MAX, max(1, len(stages))), "sedp-open")
        results = await asyncio.gather(
            *(loop.run_in_executor(threads, self._open, *stage) for stage in stages),
            return_exceptions=True,
        )
        threads.shutdown(wait=False)  # they are done, and the loop must not wait for their ends
        failures = [result for result in results if result is not None]
        if not failures:
            return
        for (_, stage), failure in zip(stages, results, strict=True):
            if failure is None:
                stage.use.stage.close()
        raise failures[0]

    def _open(self, pipeline: str, bound: BoundStage) -> None:
        where = f"pipeline {pipeline!r}, stage {bound.name!r}"
        stage = bound.use.stage
        resources = Resources(self.folder, self.threads.onnx_intra_op, self.store)
        _attempt(where, "open", lambda: stage.open(resources))
        try:
            _attempt(where, "warm up", lambda: _process_examples(bound))
        except SedpError:
            stage.close()
            raise


def close_stages(pipeline: Pipeline) -> None:
    """Close all stages; one that fails to does not keep the others open."""
    for stage in reversed(pipeline.stages):
        try:
            stage.use.stage.close()
        except Exception:
            log.exception("pipeline %r, stage %r failed to close", pipeline.name, stage.name)


def renew(pipeline: Pipeline) -> Pipeline:
    """The same pipeline with stages of its own, not opened yet.

    Raises:
        ConfigError: a stage cannot be made a second time.
    """
    try:
        uses = {
            stage.name: replace(stage.use, stage=type(stage.use.stage)(stage.use.stage.params))
            for stage in pipeline.stages
        }
        return compile_pipeline(
            pipeline.name,
            pipeline.inputs,
            pipeline.outputs,
            uses,
            rows_max=pipeline.rows_max,
            in_flight_max=pipeline.in_flight_max,
            deadline_ns=pipeline.deadline_ns,
            target_ns=pipeline.target_ns,
            levels=pipeline.levels,
            level_default=pipeline.level_default,
        )
    except (PipelineError, ValueError) as err:
        raise ConfigError(f"pipeline {pipeline.name!r} cannot be made anew: {err}") from err


def _process_examples(bound: BoundStage) -> None:
    stage = bound.use.stage
    for batch in stage.examples(bound.inputs):
        check_result(bound, batch, stage.process(batch))


def _attempt(where: str, what: str, act: Callable[[], None]) -> None:
    """Run an author's code; whatever it raises, the operator learns which stage it was."""
    try:
        act()
    except StageError as err:
        raise StageError(f"{where} failed to {what}: {err}") from err
    except SedpError as err:
        raise ConfigError(f"{where}: {err}") from err
    except Exception as err:
        log.exception("%s failed to %s", where, what)
        raise StageError(f"{where} failed to {what}: {err!r}") from err
