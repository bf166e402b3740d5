"""Costs from windows: exact where sizes differ, careful where they do not, hard to fool."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.graph import StagePlan
from sedp.engine.histogram import Histogram
from sedp.manager.cost_model import CostModel, stretch
from sedp.manager.observation import StageSeen


def window(rows: int, service_ns: int, runs: int = 20) -> StageSeen:
    """A stage whose runs all had so many rows and took so long."""
    service, sizes = Histogram(), Histogram()
    for _ in range(runs):
        service.record(service_ns)
        sizes.record(rows)
    return StageSeen(
        pipeline="p",
        name="s",
        plan=StagePlan(),
        executor="auto",
        predecessors=(),
        wait_ns=Histogram().snapshot(),
        service_ns=service.snapshot(),
        batch_rows=sizes.snapshot(),
        batches=runs,
        events=runs,
        rows=runs * rows,
        failures=0,
        queue_rows=0,
        queue_events=0,
        running=0,
    )


def learned(points: list[tuple[int, int]], stretched: float = 1.0) -> CostModel:
    model = CostModel()
    for rows, service_ns in points:
        model.learn(window(rows, service_ns), stretched)
    return model


@given(
    fixed_ns=st.integers(10_000, 50_000_000),
    row_ns=st.integers(100, 1_000_000),
    sizes=st.lists(st.sampled_from([32, 64, 128, 256, 512]), min_size=8, max_size=20),
)
def test_two_sizes_give_fixed_and_row_cost(fixed_ns: int, row_ns: int, sizes: list[int]) -> None:
    sizes = [*sizes, 32, 512, 32, 512]
    cost = learned([(rows, fixed_ns + row_ns * rows) for rows in sizes]).cost
    assert cost is not None
    for rows in (32, 512):
        assert cost.service_ns(rows) == pytest.approx(fixed_ns + row_ns * rows, rel=0.15)


@given(rows=st.integers(1, 100_000), service_ns=st.integers(1000, 10**9))
def test_one_size_is_taken_as_half_fixed(rows: int, service_ns: int) -> None:
    cost = learned([(rows, service_ns)] * 10).cost
    assert cost is not None
    assert cost.fixed_ns == pytest.approx(service_ns / 2, rel=0.01)
    assert cost.service_ns(rows) == pytest.approx(service_ns, rel=0.01)


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.integers(1000, 10**9)), min_size=1, max_size=20)
)
def test_costs_are_never_negative(points: list[tuple[int, int]]) -> None:
    cost = learned(points).cost
    assert cost is not None
    assert cost.fixed_ns >= 0
    assert cost.row_ns >= 0
    assert cost.fixed_ns + cost.row_ns > 0


def test_what_two_sizes_settled_outlives_them() -> None:
    points = [(32, 13_200_000), (512, 61_200_000)] * 4 + [(512, 61_200_000)] * 60
    cost = learned(points).cost
    assert cost is not None
    assert cost.fixed_ns == pytest.approx(10_000_000, rel=0.1)


def test_one_odd_window_hardly_moves_it() -> None:
    usual = [(rows, 10_000_000 + 100_000 * rows) for rows in (32, 512)] * 8
    cost = learned([*usual, (512, 600_000_000)]).cost
    assert cost is not None
    assert cost.service_ns(512) < 1.3 * 61_200_000


def test_a_cost_that_changed_for_good_is_learned() -> None:
    before = [(rows, 10_000_000 + 100_000 * rows) for rows in (32, 512)] * 8
    after = [(rows, 30_000_000 + 300_000 * rows) for rows in (32, 512)] * 12
    cost = learned(before + after).cost
    assert cost is not None
    assert cost.service_ns(512) == pytest.approx(183_600_000, rel=0.1)


def test_stretched_runs_are_learned_as_they_are_alone() -> None:
    cost = learned([(32, 40_000_000), (512, 180_000_000)] * 5, stretched=2.0).cost
    assert cost is not None
    assert cost.service_ns(512) == pytest.approx(90_000_000, rel=0.05)


def test_a_window_without_runs_teaches_nothing() -> None:
    model = CostModel()
    model.learn(replace(window(32, 1000), batches=0), 1.0)
    model.learn(window(32, 1000, runs=0), 1.0)
    assert model.cost is None


def test_stretch_is_runs_over_what_is_at_work() -> None:
    assert stretch(8.0, 8, 2) == 4.0, "all slots busy"
    assert stretch(1.0, 2, 2) == 1.0, "no more slots than cores"
    assert stretch(0.1, 16, 2) == pytest.approx(1.0, abs=0.01), "hardly ever more than one"
    # two of four slots busy: 0, 1, 2, 3, 4 runs with 1, 4, 6, 4, 1 sixteenths; 26/16 at work
    assert stretch(2.0, 4, 2) == pytest.approx(2 / (26 / 16))
