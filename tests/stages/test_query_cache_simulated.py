"""The query cache under the virtual clock: traffic that repeats, stages that fail or overtake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from sedp.columns import Array
from sedp.engine.events import Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.pipeline import compile_graph
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import StageExecution
from sedp.simulator.faults import Faults
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from tests.stages.cached_pipeline import SECOND_NS, CachedPipeline, request, score_of

REQUESTS, ROWS, USERS, ITEMS = 1_500, 10, 12, 60
GAP_NS = SECOND_NS // 50  # of arrivals, on the average: all of them take half a minute


class Traffic:
    """Asks for random candidates, and checks every answer."""

    def __init__(self, cached: CachedPipeline, seed: int) -> None:
        self.cached = cached
        rng = np.random.default_rng(seed)
        self.users = rng.integers(0, USERS, REQUESTS)
        self.items = rng.integers(0, ITEMS, (REQUESTS, ROWS))
        self.times_ns = np.cumsum(rng.exponential(GAP_NS, REQUESTS).astype(np.int64))
        self.degraded = 0

    def arrivals(self) -> Iterator[Arrival]:
        for user, items, time_ns in zip(self.users, self.items, self.times_ns, strict=True):
            deadline_ns = int(time_ns) + SECOND_NS
            own = request(int(user), items.tolist())
            yield Arrival(int(time_ns), 0, ROWS, own, deadline_ns)

    def receive(self, event: int, columns: Mapping[str, Array], degraded: Sequence[str]) -> None:
        right = score_of(self.users[event], self.items[event], self.cached.rank.round)
        if degraded:
            self.degraded += 1
            is_right = columns["score"] == right
            assert (is_right | (columns["score"] == -1)).all()  # the fallback, and no other
        else:
            np.testing.assert_array_equal(columns["score"], right)

    def run(self, faults: Faults | None = None) -> SimulatedRun:
        pipelines = [self.cached.pipeline]
        service = LinearService((StageCost(200_000), StageCost(5_000_000, row_ns=100_000),
                                 StageCost(200_000)))  # fmt: skip
        return Simulator(
            Scheduler(compile_graph(pipelines)),
            service,
            np.random.default_rng(1),
            execution=StageExecution(pipelines, self.receive),
            faults=faults,
        ).run(self.arrivals())


@pytest.mark.parametrize("concurrency", [1, 4])
def test_every_answer_is_right_or_marked_and_most_rows_are_saved(concurrency: int) -> None:
    cached = CachedPipeline(
        plan=StagePlan(concurrency=concurrency, batch_rows_max=20), ttl=5 * SECOND_NS,
        fallback=-1.0,
    )  # fmt: skip
    traffic = Traffic(cached, concurrency)
    run = traffic.run()
    assert run.count(Outcome.ANSWERED) == REQUESTS
    counts = cached.cache.statistics()
    assert counts is not None
    assert counts.candidates == REQUESTS * ROWS
    assert counts.expired > 0
    assert counts.followed > 0
    assert counts.saved_rows > 0.4 * counts.candidates
    assert cached.rank.rows == counts.misses
    assert traffic.degraded <= (0 if concurrency == 1 else 0.02 * REQUESTS)


def test_failing_stages_make_answers_degraded_never_wrong() -> None:
    cached = CachedPipeline(plan=StagePlan(batch_rows_max=20), ttl=5 * SECOND_NS, fallback=-1.0)
    traffic = Traffic(cached, 3)
    dice = np.random.default_rng(7)
    run = traffic.run(
        Faults(fails=lambda now_ns, stage, events: stage == 1 and dice.random() < 0.1)
    )
    counts = cached.cache.statistics()
    assert counts is not None
    assert run.count(Outcome.ANSWERED) > 0.8 * REQUESTS
    assert counts.lost > 0
    assert 0 < traffic.degraded < 0.05 * REQUESTS


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [Traffic(CachedPipeline(ttl=5 * SECOND_NS), 2).run() for _ in range(2)]
    assert runs[0].digest == runs[1].digest
