"""The daemon's statistics as one JSON document, for the status page and for scripts.

Counters count from the start; latencies and waits cover the last minute, because a quantile since
the start hides what is happening now. When nobody looked a minute ago they reach back to the look
before that, or to the start.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sedp import __version__
from sedp.daemon.monitoring.moves import tell_move
from sedp.daemon.monitoring.statistics import DaemonStatistics, LoadStatistics, WorkerState
from sedp.engine.histogram import Histogram, HistogramSnapshot
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics
from sedp.pipeline import Pipeline
from sedp.storage.tables.statistics import StoreStatistics

WINDOW_NS = 60_000_000_000
SNAPSHOT_GAP_NS = 5_000_000_000  # so a window is 13 snapshots, however often it is looked at

NOTHING = Histogram().snapshot()


class StatusWriter:
    """Writes status documents; remembers snapshots of the last minute.

    Args:
        pipelines: for the limits that the figures are measured against; may be replaced.
    """

    def __init__(self, pipelines: Mapping[str, Pipeline]) -> None:
        self.pipelines = pipelines
        self._snapshots: deque[tuple[int, EngineStatistics]] = deque()

    def write(self, statistics: DaemonStatistics) -> dict[str, Any]:
        """The document; every number is a plain int or float in base units."""
        before = self._remember(statistics.uptime_ns, statistics.engine)
        old_pipelines = {pipeline.name: pipeline for pipeline in before.pipelines} if before else {}
        old_stages = {(s.pipeline, s.name): s for s in before.stages} if before else {}
        return {
            "version": __version__,
            "ready": statistics.ready,
            "uptime_seconds": statistics.uptime_ns / 1e9,
            "log_lines_left_out": statistics.log_lines_left_out,
            "listeners": {
                name: {
                    "connections": listener.connections,
                    "connections_refused": listener.connections_refused,
                    "responses": {str(status): n for status, n in listener.responses.items()},
                }
                for name, listener in statistics.listeners.items()
            },
            "workers": [_worker(worker) for worker in statistics.workers],
            "pipelines": [
                self._pipeline(p, old_pipelines.get(p.name), statistics.load)
                for p in statistics.engine.pipelines
            ],
            "stages": [
                self._stage(stage, old_stages.get((stage.pipeline, stage.name)), statistics.load)
                for stage in statistics.engine.stages
            ],
            "tuning": _tuning(statistics.load),
            "store": statistics.store and _store(statistics.store),
        }

    def _remember(self, now_ns: int, engine: EngineStatistics) -> EngineStatistics | None:
        """Keep this snapshot if it is time; return the last one from before the window."""
        snapshots = self._snapshots
        start_ns = now_ns - WINDOW_NS
        while len(snapshots) > 1 and snapshots[1][0] <= start_ns:
            snapshots.popleft()
        if not snapshots or now_ns - snapshots[-1][0] >= SNAPSHOT_GAP_NS:
            snapshots.append((now_ns, engine))
        return snapshots[0][1] if snapshots[0][0] <= start_ns else None

    def _pipeline(
        self, now: PipelineStatistics, old: PipelineStatistics | None, load: LoadStatistics
    ) -> dict[str, Any]:
        pipeline, held = self.pipelines[now.name], load.held.get(now.name)
        return {
            "name": now.name,
            "in_flight": now.in_flight,
            "in_flight_max": now.in_flight_max or pipeline.in_flight_max,
            "in_flight_bytes": held and held.held,
            "in_flight_bytes_max": held and held.bytes_max,
            "deadline_seconds": pipeline.deadline_ns / 1e9,
            "target_seconds": pipeline.target_ns / 1e9 if pipeline.target_ns else None,
            "pressure": now.pressure / 1000,
            "degraded": dict(now.degraded),
            "outcomes": {outcome.name.lower(): count for outcome, count in now.outcomes.items()},
            "latency_seconds": _quantiles(now.latency_ns, old.latency_ns if old else NOTHING, 1e-9),
        }

    def _stage(
        self, now: StageStatistics, old: StageStatistics | None, load: LoadStatistics
    ) -> dict[str, Any]:
        plan = now.plan
        return {
            "pipeline": now.pipeline,
            "name": now.name,
            "queue_rows": now.queue_rows,
            "queue_rows_max": plan.queue_rows_max,
            "queue_events": now.queue_events,
            "running": now.running,
            "concurrency": plan.concurrency,
            "executors": dict(load.executors.get(now.pipeline, {}).get(now.name, {})),
            "batch_rows_max": plan.batch_rows_max,
            "batch_wait_max_seconds": plan.batch_wait_ns / 1e9,
            "batches": now.batches,
            "events": now.events,
            "rows": now.rows,
            "failures": now.failures,
            "fallbacks": now.fallbacks,
            "skips": now.skips,
            "timeouts": now.timeouts,
            "hedges": now.hedges,
            "breaker": now.breaker,
            "wait_seconds": _quantiles(now.wait_ns, old.wait_ns if old else NOTHING, 1e-9),
            "service_seconds": _quantiles(now.service_ns, old.service_ns if old else NOTHING, 1e-9),
            "batch_rows": _quantiles(now.batch_rows, old.batch_rows if old else NOTHING, 1),
        }


def _tuning(load: LoadStatistics) -> dict[str, Any]:
    return {
        "frozen": load.frozen,
        "moves": dict(load.moves),
        "recent": [tell_move(move) for move in reversed(load.recent)],
    }


def _worker(worker: WorkerState) -> dict[str, Any]:
    described = asdict(worker)
    described["uptime_seconds"] = max(0.0, time.time() - described.pop("started_s"))
    return described


def _quantiles(now: HistogramSnapshot, old: HistogramSnapshot, unit: float) -> dict[str, float]:
    """Quantiles of what was recorded after `old`; empty when nothing was."""
    counts = tuple(after - before for after, before in zip(now.counts, old.counts, strict=True))
    if min(counts) < 0:  # the pipeline was opened anew since, and counts from 0
        counts, old = now.counts, NOTHING
    recent = HistogramSnapshot(now.bounds, counts, now.total - old.total)
    if not recent.count:
        return {}
    return {"p50": recent.quantile(0.5) * unit, "p99": recent.quantile(0.99) * unit}


def _store(store: StoreStatistics) -> dict[str, Any]:
    return {
        "ram_bytes_max": store.ram_bytes_max,
        "ram_bytes": store.ram_bytes,
        "moves": asdict(store.moves),
        "tables": [
            {
                "name": table.spec.name,
                "version": table.spec.version,
                "rows": table.rows,
                "resident": table.resident,
                "lookups": table.lookups,
                "defaults": table.defaults,
                "misses": asdict(table.misses),
                "tiers": [asdict(tier) for tier in table.tiers],
            }
            for table in store.tables
        ],
    }
