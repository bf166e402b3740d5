"""The heap driver: right times, right ends, and the same again for the same seed."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Array, Batch
from sedp.engine.events import NEVER_NS, AnyCommand, AnyStimulus, BatchFinished, Outcome
from sedp.engine.graph import Graph, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.pipeline import Pipeline, compile_graph
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import StageExecution
from sedp.simulator.faults import Faults, SlowSpell, leave_early
from sedp.simulator.invariants import InvariantChecker
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson
from tests.engine.random_dag import random_pipeline, random_request, sequential_answer
from tests.simulator.plain_graph import chain

MS = 1_000_000
THREE_STAGES = LinearService((StageCost(MS, row_ns=100, jitter=0.2),) * 3)


def simulate(
    graph: Graph,
    arrivals: Iterator[Arrival] | list[Arrival],
    service: LinearService,
    faults: Faults | None = None,
    seed: int = 0,
) -> SimulatedRun:
    scheduler = Scheduler(graph)
    checker = InvariantChecker(scheduler)
    rng = np.random.default_rng(seed)
    run = Simulator(scheduler, service, rng, faults=faults, watch=checker.check).run(arrivals)
    checker.check_end()
    return run


def some_traffic(count: int = 500, seed: int = 1) -> Iterator[Arrival]:
    rng = np.random.default_rng(seed)
    return poisson(2_000, count, rng, rows=np.array([1, 10, 50]), deadline_after_ns=12 * MS)


def test_lone_event_takes_the_sum_of_its_service_times() -> None:
    costs = tuple(StageCost(fixed, row_ns=10, event_ns=3) for fixed in (100, 2000, 30000))
    run = simulate(chain(3), [Arrival(5, 0, 7)], LinearService(costs))
    assert run.latency_ns.tolist() == [32100 + 3 * (70 + 3)]
    assert run.outcomes.tolist() == [Outcome.ANSWERED]
    assert run.end_ns == 5 + run.latency_ns[0]


def test_events_that_wait_together_share_a_run() -> None:
    graph = chain(1, StagePlan(batch_wait_ns=MS))
    arrivals = [Arrival(time_ns, 0, 1) for time_ns in (0, 10, MS + 10)]
    run = simulate(graph, arrivals, LinearService((StageCost(100),)))
    assert run.statistics.stages[0].batches == 2
    assert run.latency_ns.tolist() == [MS + 100, MS - 10 + 100, MS + 100]


def test_same_seed_gives_the_same_commands() -> None:
    graph = chain(3, StagePlan(batch_rows_max=200))
    runs = [simulate(graph, some_traffic(), THREE_STAGES, seed=seed) for seed in (3, 3, 4)]
    assert runs[0].digest == runs[1].digest
    assert (runs[0].latency_ns == runs[1].latency_ns).all()
    assert runs[0].digest != runs[2].digest


def test_what_began_first_ends_first_at_the_same_moment() -> None:
    ends: list[int] = []

    def note(now_ns: int, stimulus: AnyStimulus, commands: list[AnyCommand]) -> None:
        if isinstance(stimulus, BatchFinished):
            ends.append(stimulus.batch)

    scheduler = Scheduler(chain(1, StagePlan(concurrency=5)))
    service = LinearService((StageCost(100),))
    simulator = Simulator(scheduler, service, np.random.default_rng(0), watch=note)
    simulator.run([Arrival(7, 0, 1)] * 5)
    assert ends == [0, 1, 2, 3, 4]


def test_event_that_ends_makes_room_for_one_that_arrives_at_the_same_moment() -> None:
    arrivals = [Arrival(0, 0, 1), Arrival(99, 0, 1), Arrival(100, 0, 1)]
    run = simulate(chain(1, in_flight_max=1), arrivals, LinearService((StageCost(100),)))
    assert run.outcomes.tolist() == [Outcome.ANSWERED, Outcome.QUEUE_FULL, Outcome.ANSWERED]


def test_every_arrival_ends_once_and_the_scheduler_counts_the_same() -> None:
    graph = chain(3, StagePlan(batch_rows_max=60, queue_rows_max=200), in_flight_max=30)
    arrivals = leave_early(some_traffic(), 0.2, 5 * MS, np.random.default_rng(7))
    faults = Faults(
        fails=lambda now_ns, stage, events: stage == 1 and any(e % 9 == 0 for e in events)
    )
    run = simulate(graph, arrivals, THREE_STAGES, faults)
    assert len(run.outcomes) == 500
    counted = run.statistics.pipelines[0].outcomes
    assert {outcome: run.count(outcome) for outcome in Outcome} == dict(counted)
    possible = {Outcome.QUEUE_FULL, Outcome.DEADLINE, Outcome.CANCELLED, Outcome.FAILED}
    for outcome in possible | {Outcome.ANSWERED}:
        assert counted[outcome] > 0, f"the scenario lost its {outcome.name}"


def test_only_the_guilty_event_of_a_batch_fails() -> None:
    graph = chain(2, StagePlan(batch_wait_ns=MS))
    faults = Faults(fails=lambda now_ns, stage, events: 3 in events)
    run = simulate(graph, [Arrival(0, 0, 1)] * 6, LinearService((StageCost(100),) * 2), faults)
    assert [event for event, end in enumerate(run.outcomes) if end == Outcome.FAILED] == [3]
    assert run.count(Outcome.ANSWERED) == 5


def test_slow_spell_slows_only_its_stage_and_its_time() -> None:
    spell = SlowSpell(stage=1, factor=10, from_ns=1000, until_ns=2000)
    arrivals = [Arrival(time_ns, 0, 1) for time_ns in (0, 950, 3000)]
    service = LinearService((StageCost(100),) * 2)
    run = simulate(chain(2), arrivals, service, Faults(slow=(spell,)))
    assert run.latency_ns.tolist() == [200, 1100, 200]


def test_caller_who_leaves_is_cancelled_at_that_moment() -> None:
    arrivals = [Arrival(10, 0, 1, leaves_ns=60), Arrival(20, 0, 1, leaves_ns=MS)]
    run = simulate(chain(1), arrivals, LinearService((StageCost(100),)))
    assert run.outcomes.tolist() == [Outcome.CANCELLED, Outcome.ANSWERED]
    assert run.latency_ns.tolist() == [50, 190]


def test_arrivals_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="sort by time"):
        simulate(chain(1), [Arrival(10, 0, 1), Arrival(9, 0, 1)], THREE_STAGES)


@pytest.mark.slow
def test_memory_grows_by_a_few_bytes_an_arrival() -> None:
    assert (peak_bytes(6000) - peak_bytes(2000)) / 4000 < 40


def peak_bytes(arrivals: int) -> int:
    lazy = (Arrival(number * MS, 0, 1) for number in range(arrivals))
    service = LinearService((StageCost(100),))
    tracemalloc.start()
    Simulator(Scheduler(chain(1)), service, np.random.default_rng(0)).run(lazy)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), stages=st.integers(1, 6), events=st.integers(1, 30))
def test_executed_answers_equal_the_sequential_reference(
    seed: int, stages: int, events: int
) -> None:
    dice = random.Random(seed)
    pipeline = random_pipeline(dice, stages)
    requests = [random_request(dice, poisonous=dice.random() < 0.1) for _ in range(events)]
    run, answers = execute_all(dice, pipeline, requests)
    assert not any(degraded for _, degraded in answers.values())
    for event, request in enumerate(requests):
        expected = sequential_answer(pipeline, request)
        if expected is None:
            assert run.outcomes[event] != Outcome.ANSWERED
        elif run.outcomes[event] == Outcome.ANSWERED:
            for name, column in expected.items():
                np.testing.assert_array_equal(answers[event][0][name], column)
        else:
            assert run.outcomes[event] != Outcome.FAILED, "an innocent event failed"


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), stages=st.integers(1, 5), events=st.integers(1, 30))
def test_answers_that_are_not_marked_degraded_are_right_whatever_stages_fall_back(
    seed: int, stages: int, events: int
) -> None:
    dice = random.Random(seed)
    pipeline = random_pipeline(dice, stages, careful=True)
    requests = [random_request(dice, poisonous=dice.random() < 0.2) for _ in range(events)]
    cores = dice.choice([None, 1, 2])
    _, answers = execute_all(dice, pipeline, requests, cores)
    for event, (answer, degraded) in answers.items():
        if not degraded:
            expected = sequential_answer(pipeline, requests[event])
            assert expected is not None, "a poisonous event was answered as if nothing had been"
            for name, column in expected.items():
                np.testing.assert_array_equal(answer[name], column)


Answers = dict[int, tuple[Mapping[str, Array], tuple[str, ...]]]


def execute_all(
    dice: random.Random, pipeline: Pipeline, requests: list[Batch], cores: int | None = None
) -> tuple[SimulatedRun, Answers]:
    """Random arrivals, deadlines and patience, random service times, all invariants watched."""
    arrivals, now_ns = [], 0
    for request in requests:
        now_ns += dice.choice([0, 1, 20, 100])
        late, rash = dice.random() < 0.1, dice.random() < 0.1
        arrivals.append(
            Arrival(
                now_ns,
                0,
                request.row_count,
                request,
                now_ns + dice.randint(0, 300) if late else NEVER_NS,
                now_ns + dice.randint(0, 200) if rash else NEVER_NS,
            )
        )
    answers: Answers = {}

    def receive(event: int, columns: Mapping[str, Array], degraded: tuple[str, ...]) -> None:
        answers[event] = columns, degraded

    scheduler = Scheduler(compile_graph([pipeline]))
    checker = InvariantChecker(scheduler)
    costs = [StageCost(dice.choice([0, 5, 50]), row_ns=3, jitter=0.5) for _ in pipeline.stages]
    simulator = Simulator(
        scheduler,
        LinearService(tuple(costs)),
        np.random.default_rng(dice.randint(0, 99)),
        execution=StageExecution([pipeline], receive),
        cores=cores,
        watch=checker.check,
    )
    run = simulator.run(arrivals)
    checker.check_end()
    return run, answers
