"""Nine tenants beside one that asks for ten times as much: what its excess costs whom.

The server has room for all of it at the first load, and at the last not even for the nine.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.manager.admission.predicted_wait import PredictedWait
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.shapes import SECOND_NS, step
from sedp.simulator.traffic import mixed
from tests.manager.overload_plant import MS, Plant, arrived

PLANT = Plant()
TENANTS, NOISE = 10, 10.0  # the noisy one is the first
CALM_S = {0.15: 8.0, 0.25: 8.0, 0.35: 6.0, 0.5: 5.0, 0.7: 4.0}  # seconds, by part of the capacity
SERVED = {0.15: 0.8, 0.25: 0.65, 0.35: 0.5, 0.5: 0.33, 0.7: 0.18}  # of what the noisy one asks

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Beside:
    """A run; masks are of its events."""

    run: SimulatedRun
    others: NDArray[np.bool_]
    noisy: NDArray[np.bool_]

    def moved(self) -> float:
        """The others' p99 while one tenant is noisy, by that before."""
        before = PLANT.p99(self.run, self.others & ~self.noisy)
        return PLANT.p99(self.run, self.others & self.noisy) / before

    def in_time(self, chosen: NDArray[np.bool_]) -> float:
        return float(PLANT.in_time(self.run)[chosen & self.noisy].mean())


@cache
def beside_noise(calm: float, *, isolates: bool = True, noise: float = NOISE) -> Beside:
    """All ask alike for `calm` of the capacity, then one of them for `noise` times its part."""
    rate, for_s = calm * PLANT.capacity() / TENANTS, CALM_S[calm]
    streams = []
    for tenant in range(TENANTS):
        times = noise if tenant == 0 else 1.0
        curve = step(rate, times * rate, for_s, for_s, 0.1)
        times_ns = curve.draw(np.random.default_rng(20 + tenant))
        kind = replace(PLANT.kind, tenant=tenant)
        streams.append(list(mixed(times_ns, [kind], np.random.default_rng(40 + tenant))))
    arrivals = list(heapq.merge(*streams, key=lambda arrival: arrival.time_ns))
    levels = len(PLANT.kind.levels)
    run = PLANT.serve(PredictedWait(20 * MS, levels, isolates=isolates), arrivals)
    others = np.array([arrival.tenant for arrival in arrivals]) != 0
    start_ns, end_ns = int(for_s * SECOND_NS), int(2 * for_s * SECOND_NS)
    return Beside(run, others, arrived(run, start_ns, end_ns))


@pytest.mark.parametrize("calm", CALM_S)
def test_isolated_tenants_see_their_tail_move_by_a_fifth_at_most(calm: float) -> None:
    beside = beside_noise(calm)
    assert beside.moved() <= 1.2
    assert beside.in_time(beside.others) >= 0.99


@pytest.mark.parametrize("calm", CALM_S)
def test_noisy_tenant_still_gets_what_an_idle_server_leaves_it(calm: float) -> None:
    beside = beside_noise(calm)
    assert beside.in_time(~beside.others) >= SERVED[calm]


def test_tenants_that_ask_alike_are_refused_nothing_for_isolation() -> None:
    alike = beside_noise(0.5, noise=1.0)
    assert PLANT.in_time(alike.run).mean() >= 0.999


def test_without_isolation_the_same_noise_is_answered_and_felt() -> None:
    beside = beside_noise(0.35, isolates=False)
    assert beside.moved() >= 1.5
    assert beside.in_time(~beside.others) >= 0.95
    assert beside.in_time(beside.others) >= 0.99
