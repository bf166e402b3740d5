"""A stage's pace while it is not full: what was known is kept as far as runs do not deny it."""

from __future__ import annotations

import pytest

from sedp.engine.pace import Pace


def full_pace(row_ns: float) -> Pace:
    """Three slots on two cores, say: a departure of ten rows every `10 * row_ns`."""
    pace = Pace()
    gap_ns = int(10 * row_ns)
    for number in range(1, 200):
        pace.saturated((number - 1) * gap_ns)
        pace.departed(number * gap_ns, (number - 3) * gap_ns, rows=10, slots=3)
    return pace


def go_alone(pace: Pace, service_ns: int, runs: int = 300) -> float:
    for number in range(1000, 1000 + runs):
        pace.departed(number * 100_000 + service_ns, number * 100_000, rows=10, slots=3)
    return pace.row_ns


def test_calm_does_not_make_the_next_burst_look_cheaper() -> None:
    # alone a run of ten rows takes 2 000: between 67 a row, of three at once, and 200, of one
    assert go_alone(full_pace(100.0), 2000) == pytest.approx(100.0, rel=0.01)


def test_runs_that_got_faster_than_all_slots_together_could_explain_are_believed() -> None:
    assert go_alone(full_pace(100.0), 600) == pytest.approx(60.0, rel=0.01)


def test_runs_that_got_so_slow_that_three_at_once_would_not_make_up_for_it_are_believed() -> None:
    assert go_alone(full_pace(100.0), 6000) == pytest.approx(200.0, rel=0.01)


def test_runs_of_different_sizes_tell_what_does_not_grow_with_rows() -> None:
    pace = Pace()
    for number in range(200):
        rows = 1 + number % 8
        pace.departed(number * 1_000, number * 1_000 - 300 - 100 * rows, rows, slots=1)
    assert abs(pace.fixed - 300 / (300 + 450)) < 0.05
    assert pace.row_ns_in(2) == pace.row_ns
    assert pace.row_ns_in(45) < 0.7 * pace.row_ns


def test_runs_of_one_size_tell_nothing_of_other_sizes() -> None:
    pace = Pace()
    for number in range(200):
        pace.departed(number * 1_000, number * 1_000 - 300 - number % 7, rows=10, slots=1)
    assert pace.fixed == 0.0
    assert pace.row_ns_in(1_000) == pace.row_ns
