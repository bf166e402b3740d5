"""What is done under load, as Prometheus metrics: pressure, what is left out, knobs and moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.metrics_core import Metric

from sedp.daemon.monitoring.families import NS, Values, counter, gauge, values
from sedp.daemon.monitoring.statistics import DaemonStatistics, LoadStatistics, OwnCounts
from sedp.engine.statistics import EngineStatistics, StageStatistics
from sedp.pipeline import Pipeline

PIPELINE = ("pipeline",)
STAGE = ("pipeline", "stage")
BREAKER_VALUES = {"closed": 0.0, "probing": 0.5, "open": 1.0}


def load_metrics(daemon: DaemonStatistics, pipelines: Mapping[str, Pipeline]) -> Iterator[Metric]:
    """Of all pipelines; targets are those of `pipelines`."""
    stages = [(values(stage.pipeline, stage.name), stage) for stage in daemon.engine.stages]
    yield from _pressure_metrics(daemon.engine, pipelines)
    yield from _care_metrics(stages)
    yield from _knob_metrics(stages)
    yield from _place_metrics(daemon.load)
    yield from _moves_metrics(daemon.load)
    yield from _own_metrics(daemon.load.own)


def _pressure_metrics(
    engine: EngineStatistics, pipelines: Mapping[str, Pipeline]
) -> Iterator[Metric]:
    aimed = [(p, pipelines[p.name].target_ns) for p in engine.pipelines if p.name in pipelines]
    aimed = [(p, target_ns) for p, target_ns in aimed if target_ns]
    yield gauge(
        "pipeline_target_seconds",
        "Latency that 99 of 100 answers should keep.",
        PIPELINE,
        [((p.name,), target_ns / NS) for p, target_ns in aimed],
    )
    yield gauge(
        "pipeline_pressure_ratio",
        "Predicted latency of a newcomer by the target; of workers the greatest.",
        PIPELINE,
        [((p.name,), p.pressure / 1000) for p, _ in aimed],
    )
    yield gauge(
        "events_in_flight_max",
        "Events inside above which newcomers are refused.",
        PIPELINE,
        [((p.name,), p.in_flight_max) for p in engine.pipelines],
    )
    yield counter(
        "events_degraded",
        "Answers by the stage that fell short.",
        STAGE,
        [((p.name, stage), n) for p in engine.pipelines for stage, n in p.degraded.items()],
    )


def _care_metrics(stages: Sequence[tuple[Values, StageStatistics]]) -> Iterator[Metric]:
    for name, text, counts in (
        ("fallbacks", "Events given a fallback.", [(v, s.fallbacks) for v, s in stages]),
        ("skips", "Of them, those for the pressure.", [(v, s.skips) for v, s in stages]),
        ("timeouts", "Runs given up.", [(v, s.timeouts) for v, s in stages]),
        ("hedges", "Runs started a second time.", [(v, s.hedges) for v, s in stages]),
    ):
        yield counter(f"stage_{name}", text, STAGE, counts)
    yield gauge(
        "stage_breaker_open",
        "1 while the stage is left alone, 0.5 while one run is tried; of workers the worst.",
        STAGE,
        [(v, BREAKER_VALUES[s.breaker]) for v, s in stages if s.breaker],
    )


def _knob_metrics(stages: Sequence[tuple[Values, StageStatistics]]) -> Iterator[Metric]:
    knobs = [(labels, stage.plan) for labels, stage in stages]
    for name, text, levels in (
        ("concurrency", "Runs at once, at most.", [(v, k.concurrency) for v, k in knobs]),
        ("batch_rows_max", "Rows joined for a run.", [(v, k.batch_rows_max) for v, k in knobs]),
        (
            "batch_wait_max_seconds",
            "Wait for company, at most.",
            [(v, k.batch_wait_ns / NS) for v, k in knobs],
        ),
        ("queue_rows_max", "Rows that may wait.", [(v, k.queue_rows_max) for v, k in knobs]),
    ):
        yield gauge(f"stage_{name}", text, STAGE, levels)


def _place_metrics(load: LoadStatistics) -> Iterator[Metric]:
    yield gauge(
        "stage_executors",
        "Processes by where they run the stage just now.",
        (*STAGE, "executor"),
        [
            ((pipeline, stage, executor), count)
            for pipeline, stages in load.executors.items()
            for stage, by in stages.items()
            for executor, count in by.items()
        ],
    )
    held = load.held.items()
    yield gauge(
        "pipeline_in_flight_bytes",
        "Bytes of requests to a pipeline that is tuned.",
        PIPELINE,
        [((name,), counts.held) for name, counts in held],
    )
    yield gauge(
        "pipeline_in_flight_bytes_max",
        "Above them its requests are refused unread.",
        PIPELINE,
        [((name,), counts.bytes_max) for name, counts in held],
    )
    yield counter(
        "requests_refused_for_bytes",
        "Requests refused unread, since too many bytes of their pipeline were in flight.",
        PIPELINE,
        [((name,), counts.refused) for name, counts in held],
    )


def _moves_metrics(load: LoadStatistics) -> Iterator[Metric]:
    yield counter(
        "events_shed",
        "Events shed, of those that were read, by their level.",
        ("pipeline", "level"),
        [((n, str(level)), c) for n, by in load.shed.items() for level, c in sorted(by.items())],
    )
    yield counter(
        "tuning_moves",
        "Knobs moved.",
        PIPELINE,
        [((name,), count) for name, count in load.moves.items()],
    )
    yield gauge("tuning_frozen", "Processes that move no knob.", (), [((), load.frozen)])


def _own_metrics(own: Sequence[OwnCounts]) -> Iterator[Metric]:
    labels = (*STAGE, "count")
    yield counter(
        "stage_own",
        "What a stage counts by itself.",
        labels,
        [((o.pipeline, o.name, key), count) for o in own for key, count in o.counts.items()],
    )
    yield gauge(
        "stage_own_level",
        "Levels that a stage tells.",
        labels,
        [((o.pipeline, o.name, key), level) for o in own for key, level in o.levels.items()],
    )
