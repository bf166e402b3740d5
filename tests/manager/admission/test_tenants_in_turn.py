"""Nine tenants and a noisy one, in virtual time: what its excess costs the others."""

from __future__ import annotations

import numpy as np
import pytest

from sedp.engine.graph import StagePlan
from sedp.manager.admission.predicted_wait import PredictedWait
from sedp.simulator.service import StageCost
from tests.manager.admission.overload import (
    ROWS,
    SECOND,
    TARGET,
    THREE_STAGES,
    Machine,
    poisson,
)

SLOW_FIRST = Machine(
    (StageCost(100_000, 5000), StageCost(100_000, 2000), StageCost(50_000, 1000)),
    StagePlan(2, 4 * ROWS, 0, 1 << 20),
)
MACHINES = {"slowest-first": SLOW_FIRST, "slowest-behind": THREE_STAGES}
TENANTS = 10
BATCH_NS = 100_000 + 5000 * 4 * ROWS  # of the slowest stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys()),
]


def others_p99_ns(machine: Machine, each: float, noisy: float) -> float:
    """Of nine tenants, each with a part of the capacity, beside one with another."""
    streams = [
        poisson([(machine.capacity * (each if n else noisy), 2 * SECOND)], seed=10 + n, tenant=n)
        for n in range(TENANTS)
    ]
    arrivals = sorted((one for stream in streams for one in stream), key=lambda a: a.time_ns)
    run = machine.serve(PredictedWait(TARGET, 1), arrivals)
    others = np.array([arrival.tenant for arrival in arrivals]) != 0
    settled = others & (run.arrived_ns > SECOND // 2)
    assert run.in_time(TARGET)[settled].mean() >= 0.99
    return float(np.quantile(run.latency_ns[settled & run.answered], 0.99))


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_noisy_tenant_costs_no_more_than_the_same_load_of_all(
    machine: Machine, load: float
) -> None:
    each = load / (TENANTS + 9)
    noisy_ns = others_p99_ns(machine, each, 10 * each)
    assert noisy_ns <= 1.2 * others_p99_ns(machine, load / TENANTS, load / TENANTS)


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_others_wait_for_the_batch_under_way_and_not_for_the_excess(
    machine: Machine, load: float
) -> None:
    each = load / (TENANTS + 9)
    noisy_ns = others_p99_ns(machine, each, 10 * each)
    assert noisy_ns <= others_p99_ns(machine, each, each) + BATCH_NS


def test_noisy_tenant_brings_twice_the_capacity_and_the_others_see_nothing(
    machine: Machine,
) -> None:
    each = 0.9 / TENANTS
    noisy_ns = others_p99_ns(machine, each, 2.0 - 9 * each)
    assert noisy_ns <= 1.2 * others_p99_ns(machine, each, each)
