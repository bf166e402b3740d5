"""The simulated machine: cores that runs share, a door that costs, ticks, things from outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sedp.engine.events import AnyStimulus, DrainBegan, Outcome, PlanChanged
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.invariants import InvariantChecker
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator, Tick
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson
from tests.simulator.plain_graph import chain

MS = 1_000_000
SECOND = 1000 * MS


def simulate(
    arrivals: Sequence[Arrival],
    *,
    stages: int = 1,
    plan: StagePlan | None = None,
    work_ns: int = 100,
    jitter: float = 0.0,
    in_flight_max: int = 1024,
    cores: int | None = None,
    door_ns: int = 0,
    ticks: tuple[int, Tick] | None = None,
    stimuli: Sequence[tuple[int, AnyStimulus]] = (),
) -> SimulatedRun:
    scheduler = Scheduler(chain(stages, plan, in_flight_max))
    checker = InvariantChecker(scheduler)
    simulator = Simulator(
        scheduler,
        LinearService((StageCost(work_ns, row_ns=10, jitter=jitter),) * stages),
        np.random.default_rng(1),
        watch=checker.check,
        cores=cores,
        door_ns=door_ns,
        ticks=ticks,
        metered=True,
    )
    run = simulator.run(arrivals, stimuli)
    checker.check_end()
    return run


def some_traffic(rate: float = 2000, count: int = 300) -> list[Arrival]:
    return list(poisson(rate, count, np.random.default_rng(2), rows=np.array([1, 10, 50])))


def test_runs_at_the_same_time_stretch_each_other() -> None:
    plan = StagePlan(concurrency=4, batch_rows_max=1)
    run = simulate([Arrival(0, 0, 1)] * 4, plan=plan, work_ns=90, cores=2)
    assert run.latency_ns.tolist() == [200] * 4


def test_cores_enough_for_all_change_nothing() -> None:
    plan = StagePlan(concurrency=2, batch_rows_max=60)
    alone, shared = (
        simulate(some_traffic(), stages=3, plan=plan, work_ns=MS, jitter=0.3, cores=cores)
        for cores in (None, 6)
    )
    assert shared.digest == alone.digest
    assert (shared.latency_ns == alone.latency_ns).all()


def test_shared_cores_give_the_same_commands_for_the_same_seed() -> None:
    plan = StagePlan(concurrency=4, batch_rows_max=60)
    first, again = (
        simulate(some_traffic(), stages=3, plan=plan, work_ns=MS, jitter=0.3, cores=2, door_ns=500)
        for _ in range(2)
    )
    assert first.digest == again.digest
    assert first.stimuli == again.stimuli


def test_machine_answers_as_many_as_its_cores_allow() -> None:
    plan = StagePlan(concurrency=8, batch_rows_max=1)
    arrivals = [Arrival(number * MS // 10, 0, 1) for number in range(5000)]
    run = simulate(arrivals, plan=plan, work_ns=MS - 10, cores=3, in_flight_max=50)
    assert run.count(Outcome.ANSWERED) == pytest.approx(3 * 500, rel=0.05)


def test_refusals_take_their_time_from_those_who_are_served() -> None:
    plan = StagePlan(concurrency=8, batch_rows_max=1)
    arrivals = [Arrival(number * MS // 10, 0, 1) for number in range(5000)]
    run = simulate(
        arrivals, plan=plan, work_ns=MS - 10, cores=1, door_ns=MS // 50, in_flight_max=20
    )
    times = 10  # the capacity of one core
    bound = (1 - 0.02 * times) / (1 - 0.02)
    assert run.count(Outcome.ANSWERED) / 500 == pytest.approx(bound, rel=0.05)


def test_work_is_shared_out_to_the_nanosecond() -> None:
    plan = StagePlan(concurrency=2, batch_rows_max=60)
    run = simulate(some_traffic(), stages=3, plan=plan, work_ns=77, cores=2)
    runs = sum(stage.batches for stage in run.statistics.stages)
    rows = sum(stage.rows for stage in run.statistics.stages)
    assert run.spent_ns.sum() == runs * 77 + rows * 10
    assert run.wasted_share(SECOND) == 0
    assert run.wasted_share(0) == 1


def test_ticks_come_from_the_first_arrival_until_all_is_over() -> None:
    seen: list[int] = []

    def tick(now_ns: int) -> Sequence[AnyStimulus]:
        seen.append(now_ns)
        return ()

    run = simulate([Arrival(5, 0, 1), Arrival(300, 0, 1)], ticks=(100, tick))
    assert seen == [105, 205, 305, 405, 505]
    assert run.end_ns == 410
    assert run.latency_ns.tolist() == [110, 110]


def test_what_a_tick_returns_is_fed_at_its_time() -> None:
    def tick(now_ns: int) -> Sequence[AnyStimulus]:
        return [PlanChanged(0, StagePlan(concurrency=now_ns // 100, batch_rows_max=1))]

    arrivals = [Arrival(0, 0, 1)] * 4
    plan = StagePlan(batch_rows_max=1)
    run = simulate(arrivals, plan=plan, work_ns=290, ticks=(200, tick))
    assert run.latency_ns.tolist() == [300, 500, 600, 700]


def test_stimuli_from_outside_happen_at_their_times() -> None:
    arrivals = [Arrival(time_ns, 0, 1) for time_ns in (0, 10, 20)]
    run = simulate(arrivals, stimuli=[(15, DrainBegan())])
    assert run.outcomes.tolist() == [Outcome.ANSWERED, Outcome.ANSWERED, Outcome.DRAINING]
    faster = simulate(
        [Arrival(0, 0, 1)] * 2,
        plan=StagePlan(batch_rows_max=1),
        stimuli=[(30, PlanChanged(0, StagePlan(concurrency=2, batch_rows_max=1)))],
    )
    assert faster.latency_ns.tolist() == [110, 140]
