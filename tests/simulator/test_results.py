"""Stages that narrow, fall back, time out or run twice, in mode *model*."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from sedp.engine.events import AnyStimulus, LimitChanged, Outcome
from sedp.engine.graph import Graph, StageCare, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.faults import Faults, SlowSpell, leave_early
from sedp.simulator.invariants import InvariantChecker
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.results import Narrowing, NarrowingRule
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson
from tests.simulator.plain_graph import chain


def with_care(graph: Graph, stage: int, care: StageCare) -> Graph:
    nodes = list(graph.stages)
    nodes[stage] = msgspec.structs.replace(nodes[stage], care=care)
    return Graph(graph.pipelines, tuple(nodes))


def simulate(
    graph: Graph,
    arrivals: list[Arrival],
    *,
    rule: NarrowingRule | None = None,
    faults: Faults | None = None,
    stimuli: list[tuple[int, AnyStimulus]] | None = None,
) -> SimulatedRun:
    scheduler = Scheduler(graph)
    checker = InvariantChecker(scheduler)
    simulator = Simulator(
        scheduler,
        LinearService((StageCost(100, row_ns=10),) * len(graph.stages)),
        np.random.default_rng(1),
        execution=Narrowing(rule) if rule else None,
        faults=faults,
        watch=checker.check,
    )
    run = simulator.run(arrivals, stimuli or ())
    checker.check_end()
    return run


def halve_after_the_first(stage: int, rows: tuple[int, ...], pressure: int) -> tuple[int, ...]:
    return tuple(count // 2 for count in rows) if stage == 0 else rows


def test_stages_behind_a_narrowing_one_cost_by_what_is_left() -> None:
    run = simulate(chain(3), [Arrival(0, 0, 8)], rule=halve_after_the_first)
    assert run.latency_ns.tolist() == [180 + 140 + 140]
    assert run.rows.tolist() == [8]


def test_events_of_one_batch_are_narrowed_each_by_itself() -> None:
    seen: list[tuple[int, ...]] = []

    def note(stage: int, rows: tuple[int, ...], pressure: int) -> tuple[int, ...]:
        seen.append(rows)
        return tuple(min(count, 3) for count in rows) if stage == 0 else rows

    plan = StagePlan(batch_wait_ns=10)
    simulate(chain(2, plan), [Arrival(0, 0, 8), Arrival(5, 0, 2)], rule=note)
    assert seen == [(8, 2), (3, 2)]


def test_run_that_fails_narrows_nothing() -> None:
    faults = Faults(fails=lambda now_ns, stage, events: len(events) > 1)
    seen: list[tuple[int, ...]] = []

    def note(stage: int, rows: tuple[int, ...], pressure: int) -> tuple[int, ...]:
        seen.append(rows)
        return tuple(count // 2 for count in rows)

    plan = StagePlan(batch_wait_ns=10)
    simulate(chain(1, plan), [Arrival(0, 0, 8), Arrival(5, 0, 2)], rule=note, faults=faults)
    assert seen == [(8,), (2,)]


def test_timed_out_run_is_replaced_by_the_fallback_and_narrows_nothing() -> None:
    graph = with_care(chain(2), 0, StageCare(timeout_ns=500, has_fallback=True))
    spell = SlowSpell(stage=0, factor=10, from_ns=0, until_ns=1)
    run = simulate(
        graph, [Arrival(0, 0, 8)], rule=halve_after_the_first, faults=Faults(slow=(spell,))
    )
    assert run.latency_ns.tolist() == [500 + 180]
    assert run.statistics.stages[0].fallbacks == 1
    assert run.end_ns == 1800  # the run itself could not be stopped


def test_twin_of_a_slow_run_is_faster() -> None:
    graph = with_care(chain(1, StagePlan(concurrency=2)), 0, StageCare(hedge_ns=300))
    spell = SlowSpell(stage=0, factor=10, from_ns=0, until_ns=1)
    run = simulate(
        graph, [Arrival(0, 0, 8)], rule=halve_after_the_first, faults=Faults(slow=(spell,))
    )
    assert run.latency_ns.tolist() == [300 + 180]
    assert run.statistics.stages[0].hedges == 1


def test_limit_changes_at_its_time() -> None:
    arrivals = [Arrival(time_ns, 0, 1) for time_ns in (0, 10, 20)]
    run = simulate(chain(1), arrivals, stimuli=[(15, LimitChanged(0, 1))])
    assert run.outcomes.tolist() == [Outcome.ANSWERED, Outcome.ANSWERED, Outcome.QUEUE_FULL]


@pytest.mark.parametrize("seed", range(5))
def test_invariants_hold_whatever_is_slow_fails_or_leaves(seed: int) -> None:
    dice = np.random.default_rng(seed)
    graph = chain(3, StagePlan(concurrency=2, batch_rows_max=60, queue_rows_max=300))
    care = StageCare(2500, has_fallback=True, hedge_ns=1500, breaker_share=700)
    graph = with_care(with_care(graph, 1, care), 2, StageCare(timeout_ns=5000))
    arrivals = poisson(900_000, 400, dice, rows=np.array([1, 10, 50]), deadline_after_ns=60_000)
    faults = Faults(
        slow=(SlowSpell(1, 9, 50_000, 200_000), SlowSpell(2, 9, 250_000, 300_000)),
        fails=lambda now_ns, stage, events: stage == 1 and any(e % 9 == 0 for e in events),
    )
    run = simulate(
        graph,
        list(leave_early(arrivals, 0.1, 20_000, dice)),
        rule=halve_after_the_first,
        faults=faults,
    )
    stage = run.statistics.stages[1]
    assert min(stage.timeouts, stage.hedges, stage.fallbacks, stage.failures) > 0
    counted = run.statistics.pipelines[0].outcomes
    assert {outcome: run.count(outcome) for outcome in Outcome} == dict(counted)
