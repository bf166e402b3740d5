"""Breakwater's pool: 40 % of the target, a thousandth or one up, 2 % of the excess down."""

from __future__ import annotations

import pytest

from sedp.engine.events import Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.stage_state import PipelineState
from sedp.manager.admission.breakwater import Breakwater
from tests.manager.admission.states import chain_of, event_of, newcomer

MS = 1_000_000
TARGET = 20 * MS
ROUND = 2 * MS
NOW = 1000 * MS


def crowd(*ages_ms: int, in_flight: int = 10_000) -> PipelineState:
    """Stages whose oldest event has waited so long at `NOW`; 0 is an empty queue."""
    pipeline = chain_of(len(ages_ms))
    for stage, age_ms in zip(pipeline.stages, ages_ms, strict=True):
        if age_ms:
            stage.queue.push([event_of(newcomer())], 1, NOW - age_ms * MS)
    pipeline.in_flight = in_flight
    return pipeline


def credits_after(before: float, pipeline: PipelineState) -> float:
    admission = Breakwater(TARGET)
    admission.credits = before
    admission.refusal(NOW, newcomer(), pipeline)
    return admission.credits


def test_delay_below_8_of_20_ms_adds_a_credit_or_a_thousandth() -> None:
    assert credits_after(100, crowd(7)) == 101
    assert credits_after(5000, crowd(7)) == 5005


def test_delay_above_takes_2_percent_of_the_excess_and_a_half_at_most() -> None:
    assert credits_after(1000, crowd(12)) == pytest.approx(1000 * (1 - 0.02 * 0.5))
    assert credits_after(1000, crowd(800)) == 500


def test_delays_of_all_queues_add_up() -> None:
    assert credits_after(1000, crowd(6, 6)) == pytest.approx(990)


def test_pool_does_not_grow_while_less_than_half_of_it_is_used() -> None:
    assert credits_after(100, crowd(0, in_flight=49)) == 100


def test_pool_moves_once_a_round() -> None:
    admission, pipeline = Breakwater(TARGET), crowd(0)
    for step in range(101):
        admission.refusal(NOW + step * ROUND // 10, newcomer(), pipeline)
    assert admission.credits == 11


def test_pool_never_falls_below_the_slots_of_a_stage() -> None:
    pipeline = crowd(800)
    pipeline.stages[0].plan = StagePlan(concurrency=4)
    assert credits_after(5.0, pipeline) == 4


def test_newcomer_beyond_the_pool_is_refused() -> None:
    admission, pipeline = Breakwater(TARGET), crowd(0, in_flight=0)
    admission.credits = 3.0
    pipeline.in_flight = 3
    admission._moved_ns = NOW
    assert admission.refusal(NOW, newcomer(), pipeline) is Outcome.SHED
    pipeline.in_flight = 2
    assert admission.refusal(NOW, newcomer(), pipeline) is None


def test_what_has_waited_twice_the_delay_is_dropped() -> None:
    assert Breakwater(TARGET).wait_limit_ns(0, 0) == 16 * MS
