"""Workers and Triton's names among the metrics and on the status page."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sedp.daemon.monitoring.metrics import registry
from sedp.daemon.monitoring.status import _quantiles
from sedp.engine.events import Outcome
from sedp.engine.histogram import Histogram
from sedp.pipeline import Pipeline
from tests.supervisor.samples import worker_statistics


def test_each_worker_is_exported_by_its_number() -> None:
    statistics = worker_statistics(1)
    one = statistics.workers[0]
    dead = replace(one, number=2, state="dead", restarts=7, stalls=1, rss_bytes=0)
    exported = registry(lambda: replace(statistics, workers=(one, dead)))
    assert exported.get_sample_value("sedp_worker_up", {"worker": "1"}) == 1
    assert exported.get_sample_value("sedp_worker_up", {"worker": "2"}) == 0
    assert exported.get_sample_value("sedp_worker_restarts_total", {"worker": "2"}) == 7
    assert exported.get_sample_value("sedp_worker_stalls_total", {"worker": "2"}) == 1
    assert exported.get_sample_value("sedp_worker_rss_bytes", {"worker": "1"}) == one.rss_bytes
    assert exported.get_sample_value("sedp_worker_start_time_seconds", {"worker": "1"}) == 1.5


def test_a_daemon_of_one_process_exports_no_workers() -> None:
    exported = registry(lambda: replace(worker_statistics(1), workers=()))
    assert b"sedp_worker" not in generate_latest(exported)


def test_triton_names_count_what_our_names_count() -> None:
    statistics = worker_statistics(1, ("a",))
    pipeline, stage = statistics.engine.pipelines[0], statistics.engine.stages[0]
    exported = registry(lambda: statistics)
    labels = {"model": "a", "version": "1"}

    def value(name: str, **more: str) -> float | None:
        return exported.get_sample_value(f"nv_inference_{name}", {**labels, **more})

    outcomes = pipeline.outcomes
    assert value("request_success") == value("count") == outcomes[Outcome.ANSWERED]
    assert value("request_failure", reason="REJECTED") == (
        outcomes[Outcome.QUEUE_FULL]
        + outcomes[Outcome.DEADLINE]
        + outcomes[Outcome.DRAINING]
        + outcomes[Outcome.SHED]
        + outcomes[Outcome.QUARANTINED]
    )
    assert value("request_failure", reason="CANCELED") == outcomes[Outcome.CANCELLED]
    assert value("request_failure", reason="BACKEND") == (
        outcomes[Outcome.FAILED] + outcomes[Outcome.UNAVAILABLE]
    )
    assert value("request_failure", reason="OTHER") == 0
    assert value("exec_count") == stage.batches
    assert value("pending_request_count") == pipeline.in_flight
    assert value("request_duration_us") == pipeline.latency_ns.total // 1_000
    assert value("queue_duration_us") == stage.wait_ns.total // 1_000
    assert value("compute_infer_duration_us") == stage.service_ns.total // 1_000


def test_what_is_done_under_load_is_exported() -> None:
    statistics = worker_statistics(1, ("a",))
    pipeline, stage = statistics.engine.pipelines[0], statistics.engine.stages[0]
    stage = replace(stage, breaker="probing")
    engine = replace(statistics.engine, stages=(stage,))
    aimed = Pipeline("a", {}, {}, {}, (), target_ns=20_000_000)
    exported = registry(lambda: replace(statistics, engine=engine), lambda: {"a": aimed})

    def value(name: str, **labels: str) -> float | None:
        return exported.get_sample_value(f"sedp_{name}", {"pipeline": "a", **labels})

    assert value("pipeline_target_seconds") == 0.02
    assert value("pipeline_pressure_ratio") == pipeline.pressure / 1000
    assert value("events_in_flight_max") == pipeline.in_flight_max
    assert value("events_degraded_total", stage="s") == pipeline.degraded["s"]
    assert value("events_shed_total", level="3") == statistics.load.shed["a"][3]
    assert value("stage_fallbacks_total", stage="s") == stage.fallbacks
    assert value("stage_skips_total", stage="s") == stage.skips
    assert value("stage_timeouts_total", stage="s") == stage.timeouts
    assert value("stage_hedges_total", stage="s") == stage.hedges
    assert value("stage_breaker_open", stage="s") == 0.5
    assert value("stage_concurrency", stage="s") == stage.plan.concurrency
    assert value("stage_batch_rows_max", stage="s") == stage.plan.batch_rows_max
    assert value("stage_batch_wait_max_seconds", stage="s") == stage.plan.batch_wait_ns / 1e9
    assert value("stage_queue_rows_max", stage="s") == stage.plan.queue_rows_max
    assert value("tuning_moves_total") == statistics.load.moves["a"]
    assert value("stage_own_total", stage="s", count="hits") is not None
    assert value("stage_own_level", stage="s", count="bytes") is not None
    assert exported.get_sample_value("sedp_tuning_frozen") == 1


def test_what_is_exported_parses_as_openmetrics() -> None:
    text = generate_openmetrics(registry(lambda: worker_statistics(1))).decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"nv_inference_count", "sedp_worker_up", "sedp_worker_restarts"} <= names


def test_a_pipeline_that_counts_from_0_again_has_quantiles_of_what_it_counted() -> None:
    """Planted: without a look at the sign, a reload gives negative counts for a minute."""
    few, many = Histogram(), Histogram()
    for value in (100, 200):
        few.record(value)
    for value in range(50):
        many.record(value)
    assert _quantiles(few.snapshot(), many.snapshot(), 1)["p99"] >= 200
    assert _quantiles(many.snapshot(), many.snapshot(), 1) == {}


def test_tiers_tell_of_requests_and_of_the_age_of_what_ram_holds() -> None:
    statistics = worker_statistics(1)
    assert statistics.store is not None
    exported = registry(lambda: statistics)
    for tier in statistics.store.tables[0].tiers:
        labels = {"table": "fm", "tier": tier.tier}
        for name, count in (("batches", tier.batches), ("whole_batches", tier.whole_batches)):
            assert exported.get_sample_value(f"sedp_store_tier_{name}_total", labels) == count
        age = exported.get_sample_value("sedp_store_tier_age_rows", labels)
        assert age == (tier.age if tier.tier == "ram" else None)
