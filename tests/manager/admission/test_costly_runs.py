"""Stages whose runs cost much the same whatever their size: only a backlog makes them pay."""

from __future__ import annotations

import numpy as np

from sedp.engine.graph import StagePlan
from sedp.engine.histogram import BOUNDS
from sedp.simulator.arrival import Arrival
from sedp.simulator.service import StageCost
from sedp.simulator.traffic import poisson
from tests.manager.plans import MS, chain
from tests.manager.tuned_run import Machine

COSTS = (StageCost(16 * MS, 15_000.0, jitter=0.1), StageCost(19 * MS, 4_500.0, jitter=0.1))
TARGET_NS = next(bound for bound in BOUNDS if bound >= 90 * MS)
SIZES = np.array([16] * 5 + [32] * 4 + [64] * 2 + [128])
RATE_S, SECONDS = 700, 10
SINGLY_S = 100  # events a second, were each to run alone


def test_batches_grow_to_what_the_target_allows() -> None:
    """A row that came to batches of one event would tell that a backlog cannot be worked off."""
    plan = StagePlan(2, 464, 0, 928)
    drawn = poisson(RATE_S, RATE_S * SECONDS, np.random.default_rng(1), rows=SIZES)
    arrivals = (Arrival(a.time_ns, 0, a.rows, due_ns=a.time_ns + TARGET_NS) for a in drawn)
    machine = Machine(COSTS, 3, TARGET_NS)
    run = machine.serve(chain(plan, plan), arrivals, admission="predicted_wait")
    assert run.in_time_s(3, SECONDS) >= 3 * SINGLY_S
    assert run.seen(3, SECONDS).p99_ns <= 1.1 * TARGET_NS
