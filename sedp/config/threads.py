"""How many runs of stages may be under way, and so how many threads each of them may have.

Read from the plain tree of a config, which takes no other module: runtimes count their threads when
they are loaded, and checking a config loads the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from sedp.manager.bounds import default_bounds
from sedp.manager.thread_plan import ThreadPlan, plan_threads

Runs = int | None
"""Most runs of a stage at once; `None`: as many as tuning finds good, within its own bounds."""


_Count = Annotated[int, msgspec.Meta(ge=1)]


class _Bounds(msgspec.Struct):
    concurrency: tuple[_Count, _Count] | None = None


class _Stage(msgspec.Struct):
    concurrency: _Count = 1
    executor: str = "auto"
    bounds: _Bounds | None = None


class _Tuning(msgspec.Struct):
    enabled: bool = True


class _Pipeline(msgspec.Struct):
    stages: dict[str, _Stage]
    tuning: _Tuning | None = None


class _Daemon(msgspec.Struct):
    workers: _Count | Literal["auto"] = "auto"
    threads: _Count | Literal["auto"] = "auto"


class _File(msgspec.Struct):
    pipelines: dict[str, _Pipeline]
    daemon: _Daemon = msgspec.field(default_factory=_Daemon)


class Outline(msgspec.Struct, frozen=True):
    """What a config says of processes and threads.

    Args:
        workers, threads: as `daemon` has them.
        runs: of every stage, but of those that stay in the event loop one in all.
    """

    workers: int | Literal["auto"]
    threads: int | Literal["auto"]
    runs: tuple[Runs, ...]


def outline(tree: Any) -> Outline | None:
    """Of a config's plain tree; `None` when it has faults, which are for others to tell."""
    try:
        file = msgspec.convert(tree, _File)
    except msgspec.ValidationError:
        return None
    stages = [
        (stage, pipeline.tuning is not None and pipeline.tuning.enabled)
        for pipeline in file.pipelines.values()
        for stage in pipeline.stages.values()
    ]
    runs = [_most_runs(*stage) for stage in stages if not _stays_inline(*stage)]
    if len(runs) < len(stages):
        runs.append(1)
    return Outline(file.daemon.workers, file.daemon.threads, tuple(runs))


def plan(runs: Sequence[Runs], cores: int, workers: int) -> ThreadPlan:
    """Threads of each worker, safe wherever tuning moves the concurrency of stages.

    Args:
        cores: that all workers together may use, ≥ 1.
        workers: processes, ≥ 1.
    """
    tuned = default_bounds(max(1, cores // workers), target_ns=1).concurrency[1]
    return plan_threads(cores, workers, [tuned if most is None else most for most in runs])


def _stays_inline(stage: _Stage, is_tuned: bool) -> bool:
    return stage.executor == "inline" and not is_tuned


def _most_runs(stage: _Stage, is_tuned: bool) -> Runs:
    if not is_tuned:
        return stage.concurrency
    if stage.bounds is None or stage.bounds.concurrency is None:
        return None
    return max(stage.concurrency, stage.bounds.concurrency[1])
