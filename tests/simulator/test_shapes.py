from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.simulator.shapes import (
    SECOND_NS,
    RateCurve,
    burst_times_ns,
    ramp,
    redrawn_times_ns,
    spike,
    step,
)


def counts(times_ns: NDArray[np.int64], edges_s: list[float]) -> list[int]:
    return np.histogram(times_ns, np.array(edges_s) * SECOND_NS)[0].tolist()


def draw(curve: RateCurve, seed: int = 1) -> NDArray[np.int64]:
    times_ns = curve.draw(np.random.default_rng(seed))
    assert (np.diff(times_ns) >= 0).all()
    assert times_ns[-1] < curve.end_ns
    return times_ns


def test_step_has_its_two_rates() -> None:
    found = counts(draw(step(1000, 8000, 2, 3, 1)), [0, 2, 5, 6])
    assert found == pytest.approx([2000, 24_000, 1000], rel=0.08)


def test_ramp_grows_evenly() -> None:
    found = counts(draw(ramp(0, 10_000, 4)), [0, 1, 2, 3, 4])
    assert found == pytest.approx([1250, 3750, 6250, 8750], rel=0.08)


def test_spike_is_as_high_as_said_in_its_middle() -> None:
    found = counts(draw(spike(1000, 9000, 1, 2, 1)), [0, 1, 1.95, 2.05, 3, 4])
    assert found[0] == pytest.approx(1000, rel=0.1)
    assert found[2] == pytest.approx(0.1 * 8800, rel=0.1)
    assert found[4] == pytest.approx(1000, rel=0.1)
    assert sum(found) == pytest.approx(12_000, rel=0.05)


def test_silence_in_a_curve_stays_silent() -> None:
    curve = RateCurve((0, 1, 1, 2, 2, 3), (1000, 1000, 0, 0, 1000, 1000))
    assert counts(draw(curve), [0, 1, 2, 3])[1] == 0


def test_arrivals_of_a_curve_are_independent_of_each_other() -> None:
    gaps = np.diff(draw(RateCurve((0, 10), (2000, 2000))))
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.05)


def test_same_seed_draws_the_same_times() -> None:
    curve = step(100, 200, 1, 1, 1)
    assert draw(curve).tolist() == draw(curve).tolist() != draw(curve, 2).tolist()


def test_bursts_have_the_rate_and_the_variation_asked_for() -> None:
    times_ns = burst_times_ns(1000, 400_000, np.random.default_rng(3), variation=4)
    gaps = np.diff(times_ns)
    assert SECOND_NS / gaps.mean() == pytest.approx(1000, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("rate", [3.0, 5000.0])
def test_record_keeps_its_form_at_another_pace_and_rate(rate: float) -> None:
    recorded_s = np.repeat(np.arange(600.0), 5)
    recorded_s = np.sort(np.concatenate([recorded_s, np.repeat(np.arange(300.0, 330), 95)]))
    speed = 0.5 if rate < 10 else 10.0
    times_ns = redrawn_times_ns(
        recorded_s, np.random.default_rng(1), speed=speed, rate=rate, resolution_s=1.0
    )
    assert (np.diff(times_ns) >= 0).all()
    found = counts(times_ns, [0, 300 / speed, 330 / speed, 600 / speed])
    assert sum(found) == len(times_ns)
    assert len(times_ns) == pytest.approx(rate * 600 / speed, rel=0.05)
    share = np.array(found) / len(times_ns)
    assert share == pytest.approx([1500 / 5850, 3000 / 5850, 1350 / 5850], rel=0.1)
