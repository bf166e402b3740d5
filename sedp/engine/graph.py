"""The compiled graph: pipelines and stages as the scheduler sees them, numbers only.

A stage is ⟨operator, queue⟩; all its in-edges share its one queue. Stages are numbered through
all pipelines of a daemon, in topological order.
"""

from __future__ import annotations

import msgspec


class StagePlan(msgspec.Struct, frozen=True, array_like=True):
    """The knobs of one stage; the resource manager may change them while serving.

    Args:
        concurrency: runs at the same time, ≥ 1.
        batch_rows_max: rows joined for one run, ≥ 1; a larger event runs alone, never split.
        batch_wait_ns: how long the oldest event may wait for company; 0 never waits.
        queue_rows_max: rows waiting, ≥ 1; full means the stages before it pause, and at the
            first stages that newcomers are refused.
    """

    concurrency: int = 1
    batch_rows_max: int = 1024
    batch_wait_ns: int = 0
    queue_rows_max: int = 16_384


class StageCare(msgspec.Struct, frozen=True, array_like=True):
    """What is done when a stage is slow, fails, or can be done without. Zeros do nothing.

    Args:
        timeout_ns: of a run; its events then go on with the fallback, or end.
        has_fallback: there are columns that stand for those of the stage.
        skip_above: pressure in permille from which the stage is not run; needs a fallback.
        hedge_ns: how long a run may take before a second one of the same events is started.
        breaker_share: failed runs in permille, among the last ones, that open the breaker.
        breaker_pause_ns: how long it stays open before one run is tried.
    """

    timeout_ns: int = 0
    has_fallback: bool = False
    skip_above: int = 0
    hedge_ns: int = 0
    breaker_share: int = 0
    breaker_pause_ns: int = 1_000_000_000


class StageNode(msgspec.Struct, frozen=True):
    """One stage of the graph; `predecessors` and `successors` are stage numbers.

    `asks_pressure`: its runs are to be told the pressure, which costs a microsecond to know.
    """

    name: str
    pipeline: int
    plan: StagePlan
    predecessors: tuple[int, ...] = ()
    successors: tuple[int, ...] = ()
    care: StageCare = StageCare()
    asks_pressure: bool = False


class PipelineNode(msgspec.Struct, frozen=True):
    """One pipeline: its stages' numbers, and how many events may be inside at once."""

    name: str
    stages: tuple[int, ...]
    in_flight_max: int = 1024


class Graph(msgspec.Struct, frozen=True):
    """Everything the scheduler needs to know before the first event."""

    pipelines: tuple[PipelineNode, ...]
    stages: tuple[StageNode, ...]
