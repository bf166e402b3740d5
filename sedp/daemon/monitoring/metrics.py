"""The daemon's statistics as Prometheus metrics.

Counters are kept where things happen and only read here, once a scrape: the client library's own
counters cost a lock each on the hot path. Names start with `sedp_`, units are base units, and no
label holds anything a caller chose. Triton's names for the same counts are beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from sedp import __version__
from sedp.daemon.access.guard import GuardStatistics
from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.daemon.monitoring.triton_metrics import triton_metrics
from sedp.engine.histogram import HistogramSnapshot
from sedp.engine.statistics import EngineStatistics
from sedp.storage.statistics import StoreStatistics, TableStatistics

NS = 1e9
DURATIONS = (1 << 13, 1 << 35, NS)  # 8 µs to 34 s; what lies outside shares the border buckets
ROWS = (1, 1 << 21, 1)

Values = tuple[str, ...]


def registry(statistics: Callable[[], DaemonStatistics]) -> CollectorRegistry:
    """What `/metrics` exports: the daemon's own figures, and the process's as usual.

    Args:
        statistics: asked once a scrape.
    """
    made = CollectorRegistry()
    made.register(_Collector(statistics))
    ProcessCollector(registry=made)
    return made


class _Collector:
    def __init__(self, statistics: Callable[[], DaemonStatistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        statistics = self._statistics()
        yield from _daemon_metrics(statistics)
        yield from _pipeline_metrics(statistics.engine)
        yield from _stage_metrics(statistics.engine)
        yield from _worker_metrics(statistics.workers)
        yield from triton_metrics(statistics.engine)
        yield from _guard_metrics(statistics.guard)
        if statistics.store is not None:
            yield from _store_metrics(statistics.store)


def _daemon_metrics(daemon: DaemonStatistics) -> Iterator[Metric]:
    yield InfoMetricFamily("sedp_build", "What is running.", {"version": __version__})
    yield _gauge("ready", "1 while requests are served.", (), [((), daemon.ready)])
    yield _gauge(
        "uptime_seconds", "Since the pipelines were opened.", (), [((), daemon.uptime_ns / NS)]
    )
    yield _counter(
        "log_lines_left_out",
        "Failures counted but not logged, to keep the log bounded.",
        (),
        [((), daemon.log_lines_left_out)],
    )
    planes = daemon.listeners.items()
    yield _gauge(
        "http_connections", "Open now.", ("plane",), [((n,), p.connections) for n, p in planes]
    )
    yield _counter(
        "http_connections_refused",
        "Connections above connections_max.",
        ("plane",),
        [((name,), plane.connections_refused) for name, plane in planes],
    )
    yield _counter(
        "http_callers_cut",
        "Connections ended because their callers did not read.",
        ("plane",),
        [((name,), plane.callers_cut) for name, plane in planes],
    )
    yield _counter(
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
        yield _counter(name, text, (), [((), count)])
    tenants = guard.tenants.items()
    yield _gauge(
        "tenant_in_flight",
        "Requests inside.",
        ("tenant",),
        [((n,), t.in_flight) for n, t in tenants],
    )
    for name, text, counts in (
        ("tenant_requests", "Requests let in.", [((n,), t.requests) for n, t in tenants]),
        ("tenant_body_bytes", "Bytes of their bodies.", [((n,), t.body_bytes) for n, t in tenants]),
    ):
        yield _counter(name, text, ("tenant",), counts)
    yield _counter(
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
    named = [(_values(str(worker.number)), worker) for worker in workers]
    for name, text, levels in (
        ("up", "1 while it serves.", [(v, int(w.state == "ready")) for v, w in named]),
        ("rss_bytes", "Memory in RAM.", [(v, w.rss_bytes) for v, w in named]),
        ("connections", "Open now.", [(v, w.connections) for v, w in named]),
        ("start_time_seconds", "Unix time of its start.", [(v, w.started_s) for v, w in named]),
    ):
        yield _gauge(f"worker_{name}", text, labels, levels)
    for name, text, counts in (
        ("restarts", "Times its place was filled anew.", [(v, w.restarts) for v, w in named]),
        ("stalls", "Times it hung and was ended.", [(v, w.stalls) for v, w in named]),
    ):
        yield _counter(f"worker_{name}", text, labels, counts)


def _pipeline_metrics(engine: EngineStatistics) -> Iterator[Metric]:
    labels = ("pipeline",)
    yield _counter(
        "events",
        "Events by how they ended.",
        ("pipeline", "outcome"),
        [
            ((p.name, o.name.lower()), count)
            for p in engine.pipelines
            for o, count in p.outcomes.items()
        ],
    )
    yield _gauge(
        "events_in_flight",
        "Events inside.",
        labels,
        [((p.name,), p.in_flight) for p in engine.pipelines],
    )
    yield _histogram(
        "event_latency_seconds",
        "Arrival to answer, answered events.",
        labels,
        [((p.name,), p.latency_ns) for p in engine.pipelines],
        DURATIONS,
    )


def _stage_metrics(engine: EngineStatistics) -> Iterator[Metric]:
    labels = ("pipeline", "stage")
    stages = [(_values(stage.pipeline, stage.name), stage) for stage in engine.stages]
    for name, text, levels in (
        ("queue_rows", "Rows waiting.", [(v, s.queue_rows) for v, s in stages]),
        ("queue_events", "Events waiting.", [(v, s.queue_events) for v, s in stages]),
        ("running_batches", "Batches being run.", [(v, s.running) for v, s in stages]),
    ):
        yield _gauge(f"stage_{name}", text, labels, levels)
    for name, text, counts in (
        ("batches", "Batches run.", [(v, s.batches) for v, s in stages]),
        ("events", "Events in them.", [(v, s.events) for v, s in stages]),
        ("rows", "Rows in them.", [(v, s.rows) for v, s in stages]),
        ("failed_batches", "Batches that raised.", [(v, s.failures) for v, s in stages]),
    ):
        yield _counter(f"stage_{name}", text, labels, counts)
    for name, text, histograms, buckets in (
        ("queue_wait_seconds", "Time queued.", [(v, s.wait_ns) for v, s in stages], DURATIONS),
        ("service_seconds", "Time of a run.", [(v, s.service_ns) for v, s in stages], DURATIONS),
        ("batch_rows", "Rows of a batch.", [(v, s.batch_rows) for v, s in stages], ROWS),
    ):
        yield _histogram(f"stage_{name}", text, labels, histograms, buckets)


def _store_metrics(store: StoreStatistics) -> Iterator[Metric]:
    yield _gauge(
        "store_ram_budget_bytes", "What the RAM tier may take.", (), [((), store.ram_bytes_max)]
    )
    yield _gauge("store_ram_bytes", "What it may fill now.", (), [((), store.ram_bytes)])
    yield _counter(
        "store_moved_rows",
        "Rows that went up or down between tiers, or failed to, behind the look-ups.",
        ("move",),
        [((move,), count) for move, count in asdict(store.moves).items()],
    )
    tables = [(_values(table.spec.name), table) for table in store.tables]
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
        yield _gauge(f"store_table_{name}", text, ("table",), levels)
    for name, text, counts in (
        ("lookups", "Keys looked up.", [(v, t.lookups) for v, t in tables]),
        ("defaults", "Keys answered by the default row.", [(v, t.defaults) for v, t in tables]),
        ("waited", "Keys that waited for RocksDB.", [(v, t.misses.waited) for v, t in tables]),
        (
            "deferred",
            "Keys answered by the default row without asking RocksDB.",
            [(v, t.misses.deferred) for v, t in tables],
        ),
    ):
        yield _counter(f"store_{name}", text, ("table",), counts)
    yield from _tier_metrics(tables)


def _tier_metrics(tables: Sequence[tuple[Values, TableStatistics]]) -> Iterator[Metric]:
    labels = ("table", "tier")
    tiers = [(_values(*v, tier.tier), tier) for v, table in tables for tier in table.tiers]
    for name, text, counts in (
        ("lookups", "Keys asked of a tier.", [(v, t.lookups) for v, t in tiers]),
        ("hits", "Keys it answered.", [(v, t.hits) for v, t in tiers]),
        ("corrupt_rows", "Rows refused for their checksum.", [(v, t.corrupt) for v, t in tiers]),
    ):
        yield _counter(f"store_tier_{name}", text, labels, counts)
    for name, text, levels in (
        ("rows", "Rows held.", [(v, t.rows) for v, t in tiers]),
        ("bytes", "Bytes they take.", [(v, t.bytes) for v, t in tiers]),
    ):
        yield _gauge(f"store_tier_{name}", text, labels, levels)


def _values(*values: str) -> Values:
    return values


def _gauge(name: str, text: str, labels: Values, samples: Iterable[tuple[Values, float]]) -> Metric:
    return _filled(GaugeMetricFamily(f"sedp_{name}", text, labels=labels), samples)


def _counter(
    name: str, text: str, labels: Values, samples: Iterable[tuple[Values, float]]
) -> Metric:
    """The library adds `_total` to the name."""
    return _filled(CounterMetricFamily(f"sedp_{name}", text, labels=labels), samples)


def _filled(family: Metric, samples: Iterable[tuple[Values, float]]) -> Metric:
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str,
    text: str,
    labels: Values,
    samples: Iterable[tuple[Values, HistogramSnapshot]],
    limits: tuple[int, int, float],
) -> Metric:
    """One bucket an octave between the first two of `limits`, in units of the third."""
    lowest, highest, unit = limits
    family = HistogramMetricFamily(f"sedp_{name}", text, labels=labels)
    for values, snapshot in samples:
        octaves = snapshot.octaves()
        buckets: list[tuple[str, int]] = []
        seen = 0  # buckets are cumulative in Prometheus
        for bound, count in zip(octaves.bounds, octaves.counts, strict=False):
            seen += count
            if lowest <= bound + 1 <= highest:
                buckets.append((floatToGoString(bound / unit), seen))
        buckets.append(("+Inf", octaves.count))
        family.add_metric(values, buckets, sum_value=octaves.total / unit)
    return family
