from __future__ import annotations

import numpy as np

from sedp.engine.events import NEVER_NS
from sedp.simulator.traffic import (
    BLOCK,
    RequestKind,
    even_times_ns,
    from_arrays,
    mixed,
    poisson,
    poisson_times_ns,
    recorded_times_ns,
)


def test_poisson_arrivals_are_seeded_ascending_and_of_the_given_rate() -> None:
    def draw(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [arrival.time_ns for arrival in poisson(1000, 10_000, rng, rows=np.array([3]))]

    times_ns = draw(5)
    assert times_ns == draw(5) != draw(6)
    assert times_ns == sorted(times_ns)
    assert len(times_ns) == 10_000 > 2 * BLOCK
    assert 9.5 < times_ns[-1] / 1e9 < 10.5
    gaps = np.diff(times_ns) / 1e6
    assert 0.95 < gaps.std() / gaps.mean() < 1.05  # exponential gaps: spread equals mean


def test_rows_are_drawn_from_those_observed() -> None:
    rows = np.array([1, 100])
    arrivals = list(poisson(1000, 1000, np.random.default_rng(0), rows=rows, deadline_after_ns=7))
    assert {arrival.rows for arrival in arrivals} == {1, 100}
    assert all(arrival.deadline_ns == arrival.time_ns + 7 for arrival in arrivals)


def test_arrays_become_arrivals_in_order() -> None:
    times_ns, rows = np.arange(BLOCK + 3), np.arange(BLOCK + 3) + 1
    arrivals = list(from_arrays(times_ns, rows, pipeline=2))
    assert [arrival.time_ns for arrival in arrivals] == times_ns.tolist()
    assert [arrival.rows for arrival in arrivals] == rows.tolist()
    assert {(a.pipeline, a.deadline_ns) for a in arrivals} == {(2, NEVER_NS)}


def test_recorded_times_start_at_zero_and_scale() -> None:
    recorded_s = np.array([50, 50, 53, 60])
    assert recorded_times_ns(recorded_s, 2.0).tolist() == [0, 0, 1_500_000_000, 5_000_000_000]


def test_even_times_keep_the_rate() -> None:
    assert even_times_ns(4.0, 3).tolist() == [0, 250_000_000, 500_000_000]
    assert len(poisson_times_ns(4.0, 0, np.random.default_rng(0))) == 0


def test_kinds_come_mixed_by_their_shares_with_their_own_limits() -> None:
    usual = RequestKind(
        (10, 20), share=0.995, target_ns=7, deadline_ns=9, levels=(0.2, 0.0, 0.8), tenant=1
    )
    rare = RequestKind((5000,), share=0.005, pipeline=1, patience_ns=4)
    times_ns = np.arange(5 * BLOCK)
    arrivals = list(mixed(times_ns, [usual, rare], np.random.default_rng(4)))
    assert [arrival.time_ns for arrival in arrivals] == times_ns.tolist()
    heavy = [arrival for arrival in arrivals if arrival.pipeline == 1]
    assert 0.003 < len(heavy) / len(arrivals) < 0.007
    assert {(a.rows, a.tenant, a.level, a.leaves_ns - a.time_ns) for a in heavy} == {
        (5000, 0, 1, 4)
    }
    assert {(a.due_ns, a.deadline_ns) for a in heavy} == {(NEVER_NS, NEVER_NS)}
    light = [arrival for arrival in arrivals if arrival.pipeline == 0]
    assert {(a.due_ns - a.time_ns, a.deadline_ns - a.time_ns) for a in light} == {(7, 9)}
    assert {a.rows for a in light} == {10, 20}
    top = sum(arrival.level == 1 for arrival in light)
    assert 0.18 < top / len(light) < 0.22
    assert {arrival.level for arrival in light} == {1, 3}
    assert {arrival.user for arrival in arrivals} == set(range(128))
