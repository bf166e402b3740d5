"""The daemon's statistics as Prometheus metrics.

Counters are kept where things happen and only read here, once a scrape: the client library's own
counters cost a lock each on the hot path. Names start with `sedp_`, units are base units, and no
label holds anything a caller chose. Triton's names for the same counts are beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import InfoMetricFamily, Metric

from sedp import __version__
from sedp.daemon.access.guard import GuardStatistics
from sedp.daemon.monitoring.families import (
    DURATIONS,
    NS,
    ROWS,
    Values,
    counter,
    gauge,
    histogram,
    values,
)
from sedp.daemon.monitoring.load_metrics import load_metrics
from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.daemon.monitoring.triton_metrics import triton_metrics
from sedp.engine.statistics import EngineStatistics
from sedp.pipeline import Pipeline
from sedp.storage.tables.statistics import StoreStatistics, TableStatistics


def registry(
    statistics: Callable[[], DaemonStatistics],
    pipelines: Callable[[], Mapping[str, Pipeline]] = dict,
) -> CollectorRegistry:
    """What `/metrics` exports: the daemon's own figures, and the process's as usual.

    Args:
        statistics: asked once a scrape.
        pipelines: for their targets; asked as often.
    """
    made = CollectorRegistry()
    made.register(_Collector(statistics, pipelines))
    ProcessCollector(registry=made)
    return made


class _Collector:
    def __init__(
        self,
        statistics: Callable[[], DaemonStatistics],
        pipelines: Callable[[], Mapping[str, Pipeline]],
    ) -> None:
        self._statistics = statistics
        self._pipelines = pipelines

    def collect(self) -> Iterator[Metric]:
        statistics = self._statistics()
        yield from _daemon_metrics(statistics)
        yield from _pipeline_metrics(statistics.engine)
        yield from _stage_metrics(statistics.engine)
        yield from load_metrics(statistics, self._pipelines())
        yield from _worker_metrics(statistics.workers)
        yield from triton_metrics(statistics.engine)
        yield from _guard_metrics(statistics.guard)
        if statistics.store is not None:
            yield from _store_metrics(statistics.store)


def _daemon_metrics(daemon: DaemonStatistics) -> Iterator[Metric]:
    yield InfoMetricFamily("sedp_build", "What is running.", {"version": __version__})
    yield gauge("ready", "1 while requests are served.", (), [((), daemon.ready)])
    yield gauge(
        "uptime_seconds", "Since the pipelines were opened.", (), [((), daemon.uptime_ns / NS)]
    )
    yield counter(
        "log_lines_left_out",
        "Failures counted but not logged, to keep the log bounded.",
        (),
        [((), daemon.log_lines_left_out)],
    )
    yield counter(
        "loop_stalls",
        "Times that the event loop did not turn for a tenth of a second.",
        (),
        [((), daemon.loop.stalls)],
    )
    yield gauge(
        "loop_stall_longest_seconds",
        "The longest of them since the start; of workers the greatest.",
        (),
        [((), daemon.loop.longest_ns / NS)],
    )
    yield gauge(
        "threads",
        "Threads of a serving process: the engine's own, at most, and of each runtime in a run.",
        ("runtime",),
        [((runtime,), count) for runtime, count in daemon.threads.items()],
    )
    yield from _listener_metrics(daemon)


def _listener_metrics(daemon: DaemonStatistics) -> Iterator[Metric]:
    planes = daemon.listeners.items()
    yield gauge(
        "http_connections", "Open now.", ("plane",), [((n,), p.connections) for n, p in planes]
    )
    yield counter(
        "http_connections_refused",
        "Connections above connections_max.",
        ("plane",),
        [((name,), plane.connections_refused) for name, plane in planes],
    )
    yield counter(
        "http_callers_cut",
        "Connections ended because their callers did not read.",
        ("plane",),
        [((name,), plane.callers_cut) for name, plane in planes],
    )
    yield counter(
        "http_responses",
        "Responses; status 499: the caller left before it.",
        ("plane", "status"),
        [((n, str(s)), count) for n, p in planes for s, count in sorted(p.responses.items())],
    )


def _guard_metrics(guard: GuardStatistics) -> Iterator[Metric]:
    for name, text, count in (
        ("unauthenticated", "Requests refused with 401.", guard.unauthenticated),
        ("forbidden", "Requests refused with 403.", guard.forbidden),
    ):
        yield counter(name, text, (), [((), count)])
    tenants = guard.tenants.items()
    yield gauge(
        "tenant_in_flight",
        "Requests inside.",
        ("tenant",),
        [((n,), t.in_flight) for n, t in tenants],
    )
    for name, text, counts in (
        ("tenant_requests", "Requests let in.", [((n,), t.requests) for n, t in tenants]),
        ("tenant_body_bytes", "Bytes of their bodies.", [((n,), t.body_bytes) for n, t in tenants]),
    ):
        yield counter(name, text, ("tenant",), counts)
    yield counter(
        "tenant_refused",
        "Requests refused with 429, by what was used up.",
        ("tenant", "reason"),
        [((n, why), count) for n, t in tenants for why, count in t.refused.items()],
    )


def _worker_metrics(workers: Sequence[WorkerState]) -> Iterator[Metric]:
    """None of a daemon that serves by itself: `process_*` tells of that."""
    if not workers:
        return
    labels = ("worker",)
    named = [(values(str(worker.number)), worker) for worker in workers]
    for name, text, levels in (
        ("up", "1 while it serves.", [(v, int(w.state == "ready")) for v, w in named]),
        ("rss_bytes", "Memory in RAM.", [(v, w.rss_bytes) for v, w in named]),
        ("connections", "Open now.", [(v, w.connections) for v, w in named]),
        ("start_time_seconds", "Unix time of its start.", [(v, w.started_s) for v, w in named]),
    ):
        yield gauge(f"worker_{name}", text, labels, levels)
    for name, text, counts in (
        ("restarts", "Times its place was filled anew.", [(v, w.restarts) for v, w in named]),
        ("stalls", "Times it hung and was ended.", [(v, w.stalls) for v, w in named]),
    ):
        yield counter(f"worker_{name}", text, labels, counts)


def _pipeline_metrics(engine: EngineStatistics) -> Iterator[Metric]:
    labels = ("pipeline",)
    yield counter(
        "events",
        "Events by how they ended.",
        ("pipeline", "outcome"),
        [
            ((p.name, o.name.lower()), count)
            for p in engine.pipelines
            for o, count in p.outcomes.items()
        ],
    )
    yield gauge(
        "events_in_flight",
        "Events inside.",
        labels,
        [((p.name,), p.in_flight) for p in engine.pipelines],
    )
    yield histogram(
        "event_latency_seconds",
        "Arrival to answer, answered events.",
        labels,
        [((p.name,), p.latency_ns) for p in engine.pipelines],
        DURATIONS,
    )


def _stage_metrics(engine: EngineStatistics) -> Iterator[Metric]:
    labels = ("pipeline", "stage")
    stages = [(values(stage.pipeline, stage.name), stage) for stage in engine.stages]
    for name, text, levels in (
        ("queue_rows", "Rows waiting.", [(v, s.queue_rows) for v, s in stages]),
        ("queue_events", "Events waiting.", [(v, s.queue_events) for v, s in stages]),
        ("running_batches", "Batches being run.", [(v, s.running) for v, s in stages]),
    ):
        yield gauge(f"stage_{name}", text, labels, levels)
    for name, text, counts in (
        ("batches", "Batches run.", [(v, s.batches) for v, s in stages]),
        ("events", "Events in them.", [(v, s.events) for v, s in stages]),
        ("rows", "Rows in them.", [(v, s.rows) for v, s in stages]),
        ("failed_batches", "Batches that raised.", [(v, s.failures) for v, s in stages]),
    ):
        yield counter(f"stage_{name}", text, labels, counts)
    for name, text, histograms, buckets in (
        ("queue_wait_seconds", "Time queued.", [(v, s.wait_ns) for v, s in stages], DURATIONS),
        ("service_seconds", "Time of a run.", [(v, s.service_ns) for v, s in stages], DURATIONS),
        ("batch_rows", "Rows of a batch.", [(v, s.batch_rows) for v, s in stages], ROWS),
    ):
        yield histogram(f"stage_{name}", text, labels, histograms, buckets)


def _store_metrics(store: StoreStatistics) -> Iterator[Metric]:
    yield gauge(
        "store_ram_budget_bytes", "What the RAM tier may take.", (), [((), store.ram_bytes_max)]
    )
    yield gauge("store_ram_bytes", "What it may fill now.", (), [((), store.ram_bytes)])
    yield counter(
        "store_moved_rows",
        "Rows that went up or down between tiers, or failed to, behind the look-ups.",
        ("move",),
        [((move,), count) for move, count in asdict(store.moves).items()],
    )
    tables = [(values(table.spec.name), table) for table in store.tables]
    for name, text, levels in (
        ("version", "Current version.", [(v, t.spec.version) for v, t in tables]),
        ("rows", "Rows its import had.", [(v, t.rows) for v, t in tables]),
        ("resident", "1 when RAM holds all its rows.", [(v, int(t.resident)) for v, t in tables]),
        (
            "recent_hit_ratio",
            "Running share of keys that RAM and LMDB answered; 0 before the first miss.",
            [(v, t.misses.hit_ratio) for v, t in tables],
        ),
    ):
        yield gauge(f"store_table_{name}", text, ("table",), levels)
    for name, text, counts in (
        ("lookups", "Keys looked up.", [(v, t.lookups) for v, t in tables]),
        ("defaults", "Keys answered by the default row.", [(v, t.defaults) for v, t in tables]),
        ("waited", "Keys that waited for RocksDB.", [(v, t.misses.waited) for v, t in tables]),
        (
            "deferred",
            "Keys answered by the default row without asking RocksDB.",
            [(v, t.misses.deferred) for v, t in tables],
        ),
        (
            "withheld",
            "Keys answered by the default row of which RocksDB had a row, as it turned out.",
            [(v, t.misses.withheld) for v, t in tables],
        ),
    ):
        yield counter(f"store_{name}", text, ("table",), counts)
    yield from _tier_metrics(tables)


def _tier_metrics(tables: Sequence[tuple[Values, TableStatistics]]) -> Iterator[Metric]:
    labels = ("table", "tier")
    tiers = [(values(*v, tier.tier), tier) for v, table in tables for tier in table.tiers]
    for name, text, counts in (
        ("lookups", "Keys asked of a tier.", [(v, t.lookups) for v, t in tiers]),
        ("hits", "Keys it answered.", [(v, t.hits) for v, t in tiers]),
        ("batches", "Requests that came to a tier.", [(v, t.batches) for v, t in tiers]),
        (
            "whole_batches",
            "Requests of which it answered every key it was asked for.",
            [(v, t.whole_batches) for v, t in tiers],
        ),
        ("corrupt_rows", "Rows refused for their checksum.", [(v, t.corrupt) for v, t in tiers]),
    ):
        yield counter(f"store_tier_{name}", text, labels, counts)
    for name, text, levels in (
        ("rows", "Rows held.", [(v, t.rows) for v, t in tiers]),
        ("bytes", "Bytes they take.", [(v, t.bytes) for v, t in tiers]),
        (
            "age_rows",
            "Rows offered to a cache since the median row it holds was last asked for.",
            [(v, t.age) for v, t in tiers if t.tier == "ram"],
        ),
    ):
        yield gauge(f"store_tier_{name}", text, labels, levels)
