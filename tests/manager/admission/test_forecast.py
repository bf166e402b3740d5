"""What stands before a newcomer, counted on states set by hand."""

from __future__ import annotations

from sedp.engine.graph import StagePlan
from sedp.manager.admission.forecast import Forecast
from tests.manager.admission.states import chain_of, load, pace, pipeline_of


def test_idle_pipeline_has_no_wait() -> None:
    forecast = Forecast()
    forecast.update(chain_of(3))
    assert (forecast.wait_ns, forecast.service_ns) == (0.0, 0.0)


def test_rows_before_a_stage_count_at_it_and_at_all_stages_after() -> None:
    pipeline = chain_of(2)
    load(pipeline, 0, queued=30, running=20)
    load(pipeline, 1, queued=7, running=3)
    pace(pipeline, 0, 1.0, 100.0)
    pace(pipeline, 1, 10.0, 200.0)
    forecast = Forecast()
    forecast.update(pipeline)
    assert forecast.wait_ns == (30 + 20 + 7 + 3) * 10.0 - 100.0  # it takes so long to get there
    assert forecast.row_ns == 10.0
    assert forecast.service_ns == 300.0
    assert forecast.backlog_ns == (30 + 20 + 7 + 3) * 10.0  # however long the way to it is


def test_slowest_stage_alone_sets_the_wait() -> None:
    pipeline = chain_of(2)
    load(pipeline, 0, queued=100)
    pace(pipeline, 0, 50.0, 0.0)
    pace(pipeline, 1, 10.0, 0.0)
    forecast = Forecast()
    forecast.update(pipeline)
    assert forecast.wait_ns == 100 * 50.0


def test_branches_hold_the_same_events_and_are_not_added() -> None:
    pipeline = pipeline_of(((), (0,), (0,), (1, 2)))
    load(pipeline, 1, queued=40)
    load(pipeline, 2, queued=60)
    load(pipeline, 3, queued=5)
    pace(pipeline, 1, 0.0, 10.0)
    pace(pipeline, 2, 0.0, 30.0)
    pace(pipeline, 3, 2.0, 1.0)
    forecast = Forecast()
    forecast.update(pipeline)
    assert forecast.wait_ns == (60 + 5) * 2.0 - 30.0
    assert forecast.service_ns == 31.0


def test_another_pipeline_is_followed_from_its_first_update() -> None:
    forecast = Forecast()
    forecast.update(chain_of(2))
    pipeline = chain_of(1)
    load(pipeline, 0, queued=3)
    pace(pipeline, 0, 2.0, 0.0)
    forecast.update(pipeline)
    assert forecast.wait_ns == 6.0


def test_a_row_costs_less_in_the_larger_batches_of_a_backlog() -> None:
    pipeline = chain_of(1)
    load(pipeline, 0, queued=80, running=10)
    pace(pipeline, 0, 2.0, 40.0)
    state = pipeline.stages[0]
    state.pace.batch_rows, state.pace.fixed = 10.0, 1.0
    forecast = Forecast()
    forecast.update(pipeline)
    assert forecast.wait_ns == 10 * 2.0 + 80 * 2.0 * 10 / 80


def test_a_row_costs_no_less_than_in_the_largest_batch() -> None:
    pipeline = pipeline_of(((),), StagePlan(batch_rows_max=20))
    load(pipeline, 0, queued=80)
    pace(pipeline, 0, 2.0, 40.0)
    state = pipeline.stages[0]
    state.pace.batch_rows, state.pace.fixed = 10.0, 0.5
    forecast = Forecast()
    forecast.update(pipeline)
    assert forecast.wait_ns == 80 * (0.5 * 2.0 + 0.5 * 2.0 * 10 / 20)


def test_an_event_that_runs_alone_pays_what_is_fixed_once() -> None:
    pipeline = chain_of(2)
    for stage, fixed in (0, 1.0), (1, 0.25):
        pace(pipeline, stage, 2.0, 20.0)
        pipeline.stages[stage].pace.batch_rows = 10.0
        pipeline.stages[stage].pace.fixed = fixed
    forecast = Forecast()
    forecast.update(pipeline)
    slots = StagePlan().concurrency
    assert forecast.alone_ns(100) == slots * (20.0 + 0.25 * 20.0 + 0.75 * 2.0 * 100)
