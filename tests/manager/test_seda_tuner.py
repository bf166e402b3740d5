"""SEDA's controllers do what the paper says."""

from __future__ import annotations

import math

import pytest

from sedp.engine.graph import StagePlan
from sedp.manager.bounds import Bounds
from sedp.manager.seda_tuner import SedaTuner
from sedp.simulator.service import StageCost
from tests.manager.plans import MS, chain, phases
from tests.manager.tuned_run import Machine

FIXED = Bounds(concurrency=(1, 20), batch_rows=(32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("rate_s", [60.0, 140.0, 230.0])
def test_threads_settle_at_littles_law(rate_s: float) -> None:
    """Runs of 20 ms: ⌈λL⌉ threads, and one more at most, as in the paper's packet router."""
    machine = Machine((StageCost(20 * MS),), 16, 300 * MS)
    start = StagePlan(1, 32, 0, 100_000)
    tuner = SedaTuner({("p", "s0"): FIXED})
    run = machine.serve(chain(start), phases((rate_s, 60)), tuner)
    needed = math.ceil(rate_s * 0.02)
    assert needed <= run.plans[0].concurrency <= needed + 1


@pytest.mark.slow
def test_idle_threads_go_one_by_one() -> None:
    machine = Machine((StageCost(20 * MS),), 16, 300 * MS)
    tuner = SedaTuner({("p", "s0"): FIXED})
    run = machine.serve(chain(StagePlan(8, 32, 0, 1000)), phases((20.0, 40)), tuner)
    left = [m for m in run.moves if m.knob == "concurrency"]
    assert 5 <= len(left) <= 7, "one every five seconds, as often as it samples"
    assert all(m.after == m.before - 1 for m in left if isinstance(m.before, int))


@pytest.mark.slow
def test_batches_shrink_while_the_output_holds() -> None:
    machine = Machine((StageCost(1 * MS, 1000.0),), 4, 300 * MS)
    run = machine.serve(chain(StagePlan(1, 1024, 0, 4096)), phases((200.0, 40)), SedaTuner())
    assert run.plans[0].batch_rows_max < 512
    assert run.answered_s(30, 39) == pytest.approx(200, rel=0.1)


@pytest.mark.slow
def test_sudden_drop_of_load_sets_batches_to_the_maximum() -> None:
    machine = Machine((StageCost(1 * MS, 1000.0),), 4, 300 * MS)
    bounds = {("p", "s0"): Bounds(batch_rows=(32, 2048))}
    run = machine.serve(
        chain(StagePlan(1, 1024, 0, 4096)), phases((300.0, 20), (60.0, 6)), SedaTuner(bounds)
    )
    assert [m.after for m in run.moves if m.reason == "the load dropped"] == [2048]


def test_pipeline_without_target_and_bounds_is_let_be() -> None:
    machine = Machine((StageCost(20 * MS),), 2, 0)
    run = machine.serve(chain(StagePlan(1, 32, 0, 1000)), phases((100.0, 6)), SedaTuner())
    assert run.moves == []
