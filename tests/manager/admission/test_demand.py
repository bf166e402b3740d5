"""What is asked of the slowest stage."""

from __future__ import annotations

import pytest

from sedp.manager.admission.demand import FLOOD, WINDOW_NS, Demand


def test_load_is_the_work_of_a_window_by_its_length() -> None:
    demand = Demand()
    for number in range(10):
        assert not demand.observe(number * WINDOW_NS // 10, WINDOW_NS / 20, is_first=number < 2)
    assert demand.load == 0.0
    assert demand.observe(WINDOW_NS, 0.0, is_first=False)
    assert demand.load == pytest.approx(0.5)
    assert demand.first_load == pytest.approx(0.1)


def test_flood_is_known_before_its_window_is_over() -> None:
    demand = Demand()
    times_ns = range(0, WINDOW_NS // 2, WINDOW_NS // 1000)
    seen = [demand.observe(now_ns, WINDOW_NS / 100, is_first=False) for now_ns in times_ns]
    assert seen.index(True) == pytest.approx(100 * FLOOD, abs=2)
    assert demand.load == pytest.approx(10.0, rel=0.05)
