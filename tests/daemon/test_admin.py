"""The admin plane: what operators and Prometheus see after some requests."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from sedp.daemon.daemon import Daemon
from sedp.daemon.monitoring.families import ROWS, histogram
from sedp.daemon.monitoring.metrics import registry
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.monitoring.status import StatusWriter
from sedp.engine.histogram import Histogram
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.miss_policy import MissRule

from .calls import post
from .conftest import StartDaemon


async def get(http: aiohttp.ClientSession, daemon: Daemon, path: str, **headers: str) -> str:
    async with http.get(f"http://{daemon.admin_address}{path}", headers=headers) as response:
        assert response.status == 200
        return await response.text()


@pytest.fixture
async def used(start_daemon: StartDaemon, http: aiohttp.ClientSession) -> Daemon:
    """A daemon that has answered three events and failed one."""
    daemon = await start_daemon()
    for pipeline in ("double", "double", "double", "fail"):
        await post(http, daemon, pipeline)
    return daemon


@pytest.mark.parametrize(
    ("accept", "parse"),
    [
        ("text/plain", parse_plain),
        ("application/openmetrics-text; version=1.0.0", parse_openmetrics),
    ],
)
async def test_metrics_parse_and_count(
    used: Daemon, http: aiohttp.ClientSession, accept: str, parse: object
) -> None:
    text = await get(http, used, "/metrics", Accept=accept)
    families = list(parse(text))  # type: ignore[operator]
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["sedp_events_total", "answered", "double"] == 3
    assert samples["sedp_events_total", "fail", "failed"] == 1
    assert samples["sedp_http_responses_total", "200", "data"] == 3
    assert samples["sedp_http_responses_total", "500", "data"] == 1
    assert samples["sedp_stage_rows_total", "double", "s"] == 6
    assert samples["sedp_event_latency_seconds_count", "double"] == 3
    assert samples["sedp_event_latency_seconds_bucket", "+Inf", "double"] == 3
    assert samples["sedp_stage_batch_rows_bucket", "1.0", "double", "s"] == 0
    assert samples["sedp_stage_batch_rows_bucket", "3.0", "double", "s"] == 3
    assert samples[("sedp_ready",)] == 1
    names = {family.name for family in families}
    assert all(name.startswith(("sedp_", "process_", "nv_inference_")) for name in names)


async def test_status_has_recent_quantiles_and_limits(
    used: Daemon, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"http://{used.admin_address}/status.json") as response:
        status = await response.json()
    double = next(p for p in status["pipelines"] if p["name"] == "double")
    assert double["outcomes"]["answered"] == 3
    assert 0 < double["latency_seconds"]["p50"] <= double["latency_seconds"]["p99"] < 1
    stage = next(s for s in status["stages"] if s["pipeline"] == "gate")
    assert (stage["queue_rows_max"], stage["concurrency"], stage["wait_seconds"]) == (8, 1, {})


async def test_health_tells_ready(used: Daemon, http: aiohttp.ClientSession) -> None:
    assert await get(http, used, "/healthz") == '{"live":true,"ready":true}'


async def test_the_page_needs_nothing_but_itself(used: Daemon, http: aiohttp.ClientSession) -> None:
    async with http.get(f"http://{used.admin_address}/") as response:
        page, policy = await response.text(), response.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert text is not None
        digest = base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "innerHTML" not in page
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {
        "data:,",
        "/metrics",
        "/status.json",
    }


async def test_admin_paths_are_not_on_the_data_plane_nor_the_reverse(
    used: Daemon, http: aiohttp.ClientSession
) -> None:
    data, admin = used.data_address, used.admin_address
    infer = "/v2/models/double/infer"
    for address, path in ((data, "/status.json"), (data, "/admin/reload"), (admin, infer)):
        async with http.get(f"http://{address}{path}") as response:
            assert response.status == 404
            assert "there is nothing at" in (await response.json())["error"]


async def test_quantiles_cover_the_last_minute_only(used: Daemon) -> None:
    writer = StatusWriter({p.name: p for p in used.config.pipelines})
    now = used.statistics()

    def seen(uptime_s: int, statistics: DaemonStatistics) -> object:
        at = DaemonStatistics(
            True, uptime_s * 10**9, statistics.engine, None, {}, log_lines_left_out=0
        )
        return writer.write(at)["pipelines"][0]["latency_seconds"]

    assert seen(100, now)  # since the start
    assert seen(159, now)  # nobody looked a minute ago
    assert seen(160, now) == {}  # nothing since 100
    assert seen(900, now) == {}  # nothing since 160


async def test_store_statistics_are_exported(used: Daemon, tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path / "store", create=True) as store:
        keys = np.arange(10, dtype=np.uint64)
        rows = np.ones((10, 4), np.float32)
        for _ in range(2):
            store.import_table(TableSpec("fm", 4, "float32"), [(keys, rows)])
        store.roll_back("fm")
        wanted = np.array([1, 2, 99], np.uint64)
        store.table("fm").lookup(wanted, np.empty((3, 4), np.float32), np.empty(3, np.bool_))
        now = used.statistics()
        full = DaemonStatistics(True, 1, now.engine, store.statistics(), {}, 0)
        exported = registry(lambda: full)
        status = StatusWriter({p.name: p for p in used.config.pipelines}).write(full)
    assert exported.get_sample_value("sedp_store_lookups_total", {"table": "fm"}) == 3
    assert exported.get_sample_value("sedp_store_defaults_total", {"table": "fm"}) == 1
    assert exported.get_sample_value("sedp_store_table_resident", {"table": "fm"}) == 1
    assert status["store"]["tables"][0]["resident"] is True
    hits = [tier["hits"] for tier in status["store"]["tables"][0]["tiers"]]
    assert sum(hits) == 2
    assert exported.get_sample_value("sedp_store_table_version", {"table": "fm"}) == 1
    assert exported.get_sample_value("sedp_store_ram_bytes") == status["store"]["ram_bytes"] > 0


async def test_misses_and_moves_are_exported(used: Daemon, tmp_path: Path) -> None:
    rules = {"fm": MissRule("fill", above=0)}
    path = tmp_path / "store"
    with ParameterStore.open(path, ram_bytes=0, create=True, misses=rules) as store:
        keys = np.arange(10, dtype=np.uint64)
        store.import_table(TableSpec("fm", 1, "float32"), [(keys, np.ones((10, 1), np.float32))])
        wanted = np.array([1, 2, 3, 99], np.uint64)
        store.table("fm").lookup(wanted, np.empty((4, 1), np.float32), np.empty(4, np.bool_))
        store.settle()
        now = used.statistics()
        full = DaemonStatistics(True, 1, now.engine, store.statistics(), {}, 0)
    exported = registry(lambda: full)
    status = StatusWriter({p.name: p for p in used.config.pipelines}).write(full)["store"]
    assert exported.get_sample_value("sedp_store_waited_total", {"table": "fm"}) == 0
    assert exported.get_sample_value("sedp_store_deferred_total", {"table": "fm"}) == 1
    assert exported.get_sample_value("sedp_store_moved_rows_total", {"move": "filled"}) == 1
    assert exported.get_sample_value("sedp_store_moved_rows_total", {"move": "failed"}) == 0
    ratio = exported.get_sample_value("sedp_store_table_recent_hit_ratio", {"table": "fm"})
    assert ratio is not None
    assert 0 < ratio < 1
    assert status["moves"]["filled"] == 1
    assert status["tables"][0]["misses"] == {
        "waited": 0,
        "deferred": 1,
        "withheld": 0,
        "hit_ratio": ratio,
    }


def test_histograms_are_cumulative_and_keep_their_sum() -> None:
    seen = Histogram()
    for rows in (1, 2, 3, 10**9):
        seen.record(rows)
    family = histogram("h", "text", ("a",), [(("b",), seen.snapshot())], ROWS)
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert buckets["1.0"] == 1
    assert buckets["3.0"] == 3
    assert buckets["+Inf"] == 4
    assert list(buckets.values()) == sorted(buckets.values())
    assert next(s.value for s in family.samples if s.name.endswith("_sum")) == 10**9 + 6
