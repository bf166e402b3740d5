"""Statistics of one worker with something in every field, different from worker to worker."""

from __future__ import annotations

import random

from sedp.daemon.in_flight_bytes import BytesStatistics
from sedp.daemon.monitoring.statistics import (
    DaemonStatistics,
    ListenerStatistics,
    LoadStatistics,
    OwnCounts,
    WorkerState,
)
from sedp.engine.events import Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.histogram import Histogram, HistogramSnapshot
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics
from sedp.manager.moves import Move
from sedp.storage.placement.mover import MoveStatistics
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.miss_policy import MissStatistics
from sedp.storage.tables.statistics import StoreStatistics, TableStatistics
from sedp.storage.tier import TierStatistics


def worker_statistics(seed: int, pipelines: tuple[str, ...] = ("a", "b")) -> DaemonStatistics:
    """Every count is at random, 1..1000."""
    dice = random.Random(seed)

    def count() -> int:
        return dice.randint(1, 1000)

    return DaemonStatistics(
        ready=True,
        uptime_ns=count(),
        engine=EngineStatistics(
            tuple(
                PipelineStatistics(
                    name,
                    count(),
                    {o: count() for o in Outcome},
                    _histogram(dice),
                    in_flight_max=count(),
                    degraded={"s": count()},
                    pressure=count(),
                )
                for name in pipelines
            ),
            tuple(_stage(name, dice) for name in pipelines),
        ),
        store=_store(dice),
        listeners={"data": ListenerStatistics(count(), count(), {200: count(), 499: count()})},
        log_lines_left_out=count(),
        workers=(WorkerState(count(), "ready", 1.5, 0, 10, number=seed),),
        load=LoadStatistics(
            frozen=1,
            moves={name: count() for name in pipelines},
            recent=tuple(_move(name, count()) for name in pipelines),
            shed={name: {1: count(), 3: count()} for name in pipelines},
            own=tuple(
                OwnCounts(name, "s", {"hits": count()}, {"bytes": count()}) for name in pipelines
            ),
            executors={name: {"s": {dice.choice(("inline", "thread")): 1}} for name in pipelines},
            held={name: BytesStatistics(*(count() for _ in range(7))) for name in pipelines},
        ),
    )


def _histogram(dice: random.Random) -> HistogramSnapshot:
    histogram = Histogram()
    for _ in range(20):
        histogram.record(dice.randint(0, 10**9))
    return histogram.snapshot()


def _stage(pipeline: str, dice: random.Random) -> StageStatistics:
    counts = [dice.randint(1, 1000) for _ in range(7)]
    more = [dice.randint(1, 1000) for _ in range(8)]
    return StageStatistics(
        "s",
        pipeline,
        *counts,
        *(_histogram(dice) for _ in range(3)),
        StagePlan(*more[:4]),
        *more[4:],
        dice.choice(["", "closed", "probing", "open"]),
    )


def _move(pipeline: str, at_ns: int) -> Move:
    return Move(at_ns, at_ns, pipeline, "s", "concurrency", 1, 2, saw={}, reason="")


def _store(dice: random.Random) -> StoreStatistics:
    def counts(n: int) -> list[int]:
        return [dice.randint(1, 1000) for _ in range(n)]

    table = TableStatistics(
        TableSpec("fm", 4, "float32", version=3),
        rows=100,
        lookups=counts(1)[0],
        defaults=counts(1)[0],
        tiers=(
            TierStatistics("ram", *counts(8)),
            TierStatistics("lmdb", *counts(3), 100, 4000, *counts(2), age=0),
        ),
        resident=True,
        misses=MissStatistics(*counts(3), hit_ratio=dice.random()),
    )
    return StoreStatistics(*counts(2), (table,), MoveStatistics(*counts(6)))
