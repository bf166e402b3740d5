"""What tuning has learned about a pipeline, kept in a file from one start to the next.

One file a pipeline, JSON: for each stage its knobs, and what a run of it costs; the bound of bytes
in flight; and the RAM of the store, which all pipelines of a process share. A file that is not
there, cannot be read or is about other stages is no reason not to serve: the knobs of the config
are good enough to begin with.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec
from msgspec import Meta

from sedp.config.management import Range, Tuning
from sedp.config.manager_settings import (
    BATCH_WAIT_NS_MAX,
    CONCURRENCY_MAX,
    QUEUE_ROWS_MAX,
    ROWS_MAX,
    Executor,
)
from sedp.engine.graph import StagePlan
from sedp.manager.cost_model import Cost
from sedp.manager.observation import StageKey
from sedp.pipeline import BoundStage, Pipeline

FILE_BYTES_MAX = 1 << 20
Bytes = Annotated[int, Meta(ge=1, le=1 << 60)]

log = logging.getLogger(__name__)


class LearnedStage(msgspec.Struct, frozen=True):
    """Knobs of a stage, and its cost as far as it is known.

    Args:
        executor: begun with only where the config lets it be moved there.
    """

    concurrency: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)]
    batch_rows_max: Annotated[int, Meta(ge=1, le=ROWS_MAX)]
    batch_wait_ns: Annotated[int, Meta(ge=0, le=BATCH_WAIT_NS_MAX)]
    queue_rows_max: Annotated[int, Meta(ge=1, le=QUEUE_ROWS_MAX)]
    cost: Cost | None = None
    executor: Executor | None = None

    @classmethod
    def of(cls, plan: StagePlan, cost: Cost | None, executor: str | None = None) -> LearnedStage:
        return cls(
            plan.concurrency,
            plan.batch_rows_max,
            plan.batch_wait_ns,
            plan.queue_rows_max,
            cost,
            cast(Executor | None, executor),
        )

    def plan(self, limits: Mapping[str, Range], rows_max: int) -> StagePlan:
        """The knobs, within the limits of the config.

        Args:
            limits: see `Tuning`.
            rows_max: of one request, which every queue must hold.
        """
        return StagePlan(
            _clamp(self.concurrency, limits.get("concurrency")),
            _clamp(self.batch_rows_max, limits.get("batch_rows")),
            _clamp(self.batch_wait_ns, limits.get("batch_wait_ns")),
            max(rows_max, _clamp(self.queue_rows_max, limits.get("queue_rows"))),
        )


class LearnedPlan(msgspec.Struct, frozen=True):
    """Of one pipeline, by stage.

    Args:
        in_flight_bytes_max: of its requests; begun with no more than the process may hold.
        ram_bytes: of the store, where that may be moved; begun with within `store.ram_bounds`.
    """

    pipeline: str
    stages: dict[str, LearnedStage]
    version: Literal[1] = 1
    in_flight_bytes_max: Bytes | None = None
    ram_bytes: Bytes | None = None

    @property
    def costs(self) -> dict[StageKey, Cost]:
        """As far as they are known."""
        known = ((name, kept.cost) for name, kept in self.stages.items())
        return {(self.pipeline, name): cost for name, cost in known if cost is not None}


def read_learned(pipeline: Pipeline, tuning: Tuning | None) -> LearnedPlan | None:
    """What was learned about a pipeline before; `None` when nothing is kept."""
    if tuning is None or tuning.plan_path is None:
        return None
    path = tuning.plan_path
    try:
        with path.open("rb") as stream:
            learned = msgspec.json.decode(stream.read(FILE_BYTES_MAX), type=LearnedPlan)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as err:
        log.warning("plan file %s is not used: %s; remove it, or mend it", path, err)
        return None
    if learned.pipeline != pipeline.name:
        text = "plan file %s is not used: it is about pipeline %r; name another file"
        log.warning(text, path, learned.pipeline)
        return None
    log.info("pipeline %r begins with the knobs in %s", pipeline.name, path)
    return learned


def learned_ram(learned: Iterable[LearnedPlan | None]) -> int:
    """The most RAM that one of the files tells of; 0 where none does."""
    return max((one.ram_bytes or 0 for one in learned if one is not None), default=0)


def begin_with(pipeline: Pipeline, tuning: Tuning | None, learned: LearnedPlan | None) -> Pipeline:
    """The pipeline with the knobs that were learned, where they were."""
    if tuning is None or learned is None:
        return pipeline

    def begin(bound: BoundStage) -> BoundStage:
        kept = learned.stages.get(bound.name)
        if kept is None:
            return bound
        plan = kept.plan(tuning.limits.get(bound.name, {}), pipeline.rows_max)
        executor = bound.use.executor
        if kept.executor in tuning.executors.get(bound.name, ()):
            executor = str(kept.executor)
        return replace(bound, use=replace(bound.use, plan=plan, executor=executor))

    return replace(pipeline, stages=tuple(begin(bound) for bound in pipeline.stages))


def write_learned(path: Path, learned: LearnedPlan) -> None:
    """Replace the file as a whole.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    text = msgspec.json.format(msgspec.json.encode(learned), indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _clamp(value: int, limits: Range | None) -> int:
    return value if limits is None else min(max(value, limits[0]), limits[1])
