"""Statistics of several workers as one: what adds up, what does not, and what outlives a worker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.daemon.monitoring.merging import RECENT_MOVES_MAX, known, merge, past
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.engine.events import Outcome
from sedp.engine.histogram import Histogram
from tests.supervisor.samples import worker_statistics


def test_one_worker_is_the_daemon() -> None:
    assert merge([worker_statistics(1)]) == worker_statistics(1)


def test_counts_levels_and_responses_add_up() -> None:
    one, other = worker_statistics(1), worker_statistics(2)
    both = merge([one, other])
    for position, pipeline in enumerate(both.engine.pipelines):
        parts = [part.engine.pipelines[position] for part in (one, other)]
        assert pipeline.name == parts[0].name
        assert pipeline.in_flight == sum(part.in_flight for part in parts)
        assert pipeline.outcomes[Outcome.FAILED] == sum(p.outcomes[Outcome.FAILED] for p in parts)
        assert pipeline.latency_ns.count == 40
    assert both.listeners["data"].responses[499] == sum(
        part.listeners["data"].responses[499] for part in (one, other)
    )
    assert both.log_lines_left_out == one.log_lines_left_out + other.log_lines_left_out
    assert [worker.number for worker in both.workers] == [1, 2]


def test_knobs_of_workers_allow_together_what_each_allows() -> None:
    one, other = worker_statistics(1), worker_statistics(2)
    plans = [part.engine.stages[0].plan for part in (one, other)]
    merged = merge([one, other]).engine.stages[0].plan
    assert merged.concurrency == sum(plan.concurrency for plan in plans)
    assert merged.queue_rows_max == sum(plan.queue_rows_max for plan in plans)
    assert merged.batch_rows_max == max(plan.batch_rows_max for plan in plans)
    assert merged.batch_wait_ns == max(plan.batch_wait_ns for plan in plans)


@pytest.mark.parametrize(
    ("breakers", "worst"),
    [(("closed", "open"), "open"), (("", "closed"), "closed"), (("open", "probing"), "open")],
)
def test_breaker_and_pressure_are_those_of_the_worker_that_is_worst(
    breakers: tuple[str, str], worst: str
) -> None:
    def having(seed: int, breaker: str) -> DaemonStatistics:
        whole = worker_statistics(seed)
        stages = tuple(replace(stage, breaker=breaker) for stage in whole.engine.stages)
        return replace(whole, engine=replace(whole.engine, stages=stages))

    parts = [having(seed, breaker) for seed, breaker in enumerate(breakers)]
    merged = merge(parts).engine
    assert merged.stages[0].breaker == worst
    assert merged.pipelines[0].pressure == max(p.engine.pipelines[0].pressure for p in parts)
    assert merged.pipelines[0].degraded["s"] == sum(
        part.engine.pipelines[0].degraded["s"] for part in parts
    )


def test_what_is_done_under_load_adds_up_and_the_last_moves_are_told() -> None:
    parts = [worker_statistics(seed) for seed in range(20)]
    load = merge(parts).load
    assert load.frozen == 20
    assert load.moves["a"] == sum(part.load.moves["a"] for part in parts)
    assert load.shed["b"][3] == sum(part.load.shed["b"][3] for part in parts)
    assert load.own[0].counts["hits"] == sum(part.load.own[0].counts["hits"] for part in parts)
    moves = sorted(move.at_ns for part in parts for move in part.load.recent)
    assert [move.at_ns for move in load.recent] == moves[-RECENT_MOVES_MAX:]


@given(st.lists(st.lists(st.integers(0, 2**50), max_size=30), min_size=1, max_size=5))
def test_merged_histograms_are_that_of_all_values(parts: list[list[int]]) -> None:
    def of(values: list[int]) -> DaemonStatistics:
        histogram = Histogram()
        for value in values:
            histogram.record(value)
        whole = worker_statistics(1, ("a",))
        pipeline = replace(whole.engine.pipelines[0], latency_ns=histogram.snapshot())
        return replace(whole, engine=replace(whole.engine, pipelines=(pipeline,)))

    merged = merge([of(values) for values in parts]).engine.pipelines[0].latency_ns
    expected = of([value for values in parts for value in values]).engine.pipelines[0].latency_ns
    assert merged == expected
    assert merged.quantile(0.99) == expected.quantile(0.99)


def test_what_only_one_has_is_taken_from_there() -> None:
    both = merge([worker_statistics(1, ("a",)), worker_statistics(2, ("b", "a"))])
    assert [pipeline.name for pipeline in both.engine.pipelines] == ["a", "b"]
    without = replace(worker_statistics(3), store=None, listeners={})
    assert merge([without, worker_statistics(1)]).store == worker_statistics(1).store
    assert merge([without, worker_statistics(1)]).listeners == worker_statistics(1).listeners


def test_ready_is_who_has_one_ready_worker() -> None:
    one = worker_statistics(1)
    down = replace(one, ready=False)
    assert merge([down, one]).ready
    assert not merge([down, down]).ready


def test_ram_adds_up_and_files_are_counted_once() -> None:
    one, other = worker_statistics(1).store, worker_statistics(2).store
    merged = merge([worker_statistics(1), worker_statistics(2)]).store
    assert one is not None
    assert other is not None
    assert merged is not None
    ram, lmdb = merged.tables[0].tiers
    tiers = [store.tables[0].tiers for store in (one, other)]
    assert ram.bytes == sum(ram.bytes for ram, _ in tiers)
    assert lmdb.hits == sum(lmdb.hits for _, lmdb in tiers)
    assert (lmdb.rows, lmdb.bytes) == (100, 4000)
    assert merged.ram_bytes_max == one.ram_bytes_max + other.ram_bytes_max
    assert merged.moves.demoted == one.moves.demoted + other.moves.demoted


def test_a_table_is_at_its_newer_version_and_hit_ratios_are_weighted() -> None:
    def at(version: int, lookups: int, hit_ratio: float) -> DaemonStatistics:
        whole = worker_statistics(1)
        assert whole.store is not None
        table = whole.store.tables[0]
        table = replace(
            table,
            spec=replace(table.spec, version=version),
            lookups=lookups,
            misses=replace(table.misses, hit_ratio=hit_ratio),
        )
        return replace(whole, store=replace(whole.store, tables=(table,)))

    merged = merge([at(4, 300, 0.8), at(3, 100, 0.4), at(3, 900, 0.0)]).store
    assert merged is not None
    assert merged.tables[0].spec.version == 4
    assert merged.tables[0].misses.hit_ratio == pytest.approx(0.7)  # 0 says: no misses yet


def test_what_a_worker_counted_outlives_it_and_its_levels_do_not() -> None:
    """Planted: `past` that keeps levels, or loses counts, is seen here."""
    one, other = worker_statistics(1), worker_statistics(2)
    before, after = merge([one, other]), merge([one, past(other)])
    assert after.engine.pipelines[0].outcomes == before.engine.pipelines[0].outcomes
    assert after.engine.stages[0].service_ns == before.engine.stages[0].service_ns
    assert after.engine.stages[0].rows == before.engine.stages[0].rows
    assert after.listeners["data"].responses == before.listeners["data"].responses
    assert after.engine.pipelines[0].in_flight == one.engine.pipelines[0].in_flight
    assert after.engine.stages[0].queue_rows == one.engine.stages[0].queue_rows
    assert after.listeners["data"].connections == one.listeners["data"].connections
    assert after.workers == one.workers
    assert after.store is not None
    assert before.store is not None
    assert one.store is not None
    assert after.store.tables[0].lookups == before.store.tables[0].lookups
    assert after.store.tables[0].tiers[0].bytes == one.store.tables[0].tiers[0].bytes
    assert after.store.ram_bytes == one.store.ram_bytes
    assert not merge([past(one)]).ready
    assert after.engine.stages[0].plan == one.engine.stages[0].plan
    assert after.engine.stages[0].breaker == one.engine.stages[0].breaker
    assert after.engine.pipelines[0].pressure == one.engine.pipelines[0].pressure
    assert after.load.moves == before.load.moves
    assert after.load.shed == before.load.shed
    assert after.load.own[0].counts == before.load.own[0].counts
    assert after.load.own[0].levels == one.load.own[0].levels
    assert after.load.frozen == one.load.frozen
    assert after.load.executors == one.load.executors
    assert after.load.held["a"].held == one.load.held["a"].held
    assert after.load.held["a"].requests == before.load.held["a"].requests


def test_what_is_not_served_any_more_is_left_out() -> None:
    whole = known(worker_statistics(1), ["b"])
    left = whole.engine
    assert whole.load.moves.keys() == whole.load.shed.keys() == {"b"}
    assert {move.pipeline for move in whole.load.recent} == {"b"}
    assert whole.load.executors.keys() == whole.load.held.keys() == {"b"}
    assert {own.pipeline for own in whole.load.own} == {"b"}
    assert [pipeline.name for pipeline in left.pipelines] == ["b"]
    assert [stage.pipeline for stage in left.stages] == ["b"]


def test_threads_are_those_of_the_worker_that_has_most() -> None:
    one, other = worker_statistics(1), worker_statistics(2)
    assert merge([replace(one, threads={"numba": 2}), other]).threads == {"numba": 2}
    counted = [replace(one, threads={"numba": n, "blas": 1}) for n in (1, 3, 2)]
    assert merge([*counted, past(counted[1])]).threads == {"numba": 3, "blas": 1}


def test_places_of_a_stage_are_counted_and_the_largest_request_is_that_of_all() -> None:
    one, other = worker_statistics(1), worker_statistics(2)

    def at(place: str, largest: int) -> DaemonStatistics:
        held = replace(one.load.held["a"], largest=largest, bytes_max=100)
        load = replace(one.load, executors={"a": {"s": {place: 1}}}, held={"a": held})
        return replace(one, load=load)

    load = merge([at("thread", 5), at("inline", 9), at("thread", 7), past(other)]).load
    assert load.executors == {"a": {"s": {"thread": 2, "inline": 1}}}
    assert (load.held["a"].largest, load.held["a"].bytes_max) == (
        max(9, other.load.held["a"].largest),
        300,
    )
