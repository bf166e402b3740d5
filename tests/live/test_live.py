"""The live driver on a real loop with real threads: same answers, nothing lost, nothing hangs."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest
import uvloop

from sedp.answer import Unanswered
from sedp.columns import Array, Batch
from sedp.engine.events import Outcome
from sedp.engine.graph import StagePlan
from sedp.errors import StageError
from sedp.live import Engine
from sedp.pipeline import StageUse, compile_pipeline
from tests.engine.random_dag import random_pipeline, random_request, sequential_answer
from tests.live.double import FP32N, Double, one_stage, request, turn_twice


@pytest.mark.parametrize("executor", ["inline", "thread", "auto"])
@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_concurrent_callers_get_their_own_answers(executor, run) -> None:
    async def main() -> None:
        engine = Engine([one_stage(Double(), executor)])

        async def ask(number: int) -> None:
            columns = await engine.infer("p", request(*[number] * (1 + number % 5)))
            assert columns["y"].tolist() == [2.0 * number] * (1 + number % 5)

        for _ in range(5):
            await asyncio.gather(*(ask(number) for number in range(40)))
        assert engine.statistics().pipelines[0].outcomes[Outcome.ANSWERED] == 200
        await engine.drained()
        engine.close()

    run(main())


@pytest.mark.parametrize("seed", range(12))
def test_live_answers_equal_the_sequential_reference(seed: int) -> None:
    dice = random.Random(seed)
    pipeline = random_pipeline(dice, 5)

    async def main() -> None:
        engine = Engine([pipeline])

        async def ask(event: Batch) -> None:
            expected = sequential_answer(pipeline, event)
            refused = None
            try:
                columns = await engine.infer("dag", event)
            except Unanswered as err:
                refused = err.outcome
            if refused is not None or expected is None:
                assert refused in (Outcome.QUEUE_FULL, *[Outcome.FAILED] * (expected is None))
                return
            for name, column in expected.items():
                np.testing.assert_array_equal(columns[name], column)

        events = [random_request(dice, dice.random() < 0.05) for _ in range(100)]
        await asyncio.gather(*(ask(event) for event in events))
        await engine.drained()
        assert sum(engine.statistics().pipelines[0].outcomes.values()) == 100
        engine.close()

    uvloop.run(main())


def test_requests_that_arrive_together_share_a_batch_even_inline() -> None:
    async def main() -> None:
        stage = Double()
        engine = Engine([one_stage(stage, "inline")])
        await asyncio.gather(*(engine.infer("p", request(1.0)) for _ in range(10)))
        assert sum(stage.batches) == 10
        assert max(stage.batches) >= 9
        engine.close()

    uvloop.run(main())


def test_inline_stages_run_on_the_loop_and_thread_stages_do_not() -> None:
    async def main() -> None:
        for executor, on_loop in [("inline", True), ("thread", False)]:
            stage = Double()
            engine = Engine([one_stage(stage, executor)])
            await engine.infer("p", request(1.0))
            assert (threading.current_thread().name in stage.threads) is on_loop
            engine.close()

    uvloop.run(main())


def test_auto_moves_a_quick_stage_onto_the_loop() -> None:
    async def main() -> None:
        stage = Double()
        engine = Engine([one_stage(stage, "auto")])
        for _ in range(400):
            await engine.infer("p", request(1.0))
        assert threading.current_thread().name in stage.threads
        engine.close()

    uvloop.run(main())


def test_a_poisonous_event_fails_alone() -> None:
    async def main() -> None:
        engine = Engine([one_stage(Double(), "inline")])
        values = [1.0, -1.0, 3.0]
        ends = await asyncio.gather(
            *(engine.infer("p", request(v)) for v in values), return_exceptions=True
        )
        assert isinstance(ends[1], Unanswered)
        assert (ends[1].outcome, ends[1].stage) == (Outcome.FAILED, "double")
        assert isinstance(ends[1].__cause__, ValueError)
        assert [end["y"].tolist() for end in (ends[0], ends[2])] == [[2.0], [6.0]]
        engine.close()

    uvloop.run(main())


def test_a_stage_that_breaks_its_contract_is_an_error_not_a_wrong_answer() -> None:
    async def main() -> None:
        stage = Double()
        stage.result_dtype = np.float64
        engine = Engine([one_stage(stage)])
        with pytest.raises(Unanswered) as caught:
            await engine.infer("p", request(1.0))
        assert isinstance(caught.value.__cause__, StageError)
        assert "float64" in str(caught.value.__cause__)
        engine.close()

    uvloop.run(main())


def test_a_hung_stage_does_not_keep_a_caller_beyond_its_deadline() -> None:
    async def main() -> None:
        stage = Double()
        stage.gate = threading.Event()
        engine = Engine([one_stage(stage, "thread")])
        started_ns = time.monotonic_ns()
        with pytest.raises(Unanswered) as caught:
            await engine.infer("p", request(1.0), deadline_ns=started_ns + 30_000_000)
        assert caught.value.outcome is Outcome.DEADLINE
        stage.gate.set()
        await engine.drained()
        engine.close()

    uvloop.run(main())


def test_a_caller_that_leaves_takes_its_event_along() -> None:
    async def main() -> None:
        stage = Double()
        stage.gate = threading.Event()
        engine = Engine([one_stage(stage, "thread")])
        first = asyncio.create_task(engine.infer("p", request(1.0)))
        await turn_twice()  # it has come in, and runs
        second = asyncio.create_task(engine.infer("p", request(2.0)))
        await turn_twice()  # waits behind the first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        stage.gate.set()
        assert (await first)["y"].tolist() == [2.0]
        assert stage.batches == [1], "the second was never run"
        assert engine.statistics().pipelines[0].outcomes[Outcome.CANCELLED] == 1
        engine.close()

    uvloop.run(main())


def test_over_the_bound_is_refused_at_once() -> None:
    async def main() -> None:
        stage = Double()
        stage.gate = threading.Event()
        engine = Engine([one_stage(stage, "thread", in_flight_max=1)])
        first = asyncio.create_task(engine.infer("p", request(1.0)))
        await asyncio.sleep(0)
        with pytest.raises(Unanswered) as caught:
            await engine.infer("p", request(2.0))
        assert caught.value.outcome is Outcome.QUEUE_FULL
        stage.gate.set()
        await first
        engine.close()

    uvloop.run(main())


def test_draining_refuses_newcomers_and_waits_for_the_rest() -> None:
    async def main() -> None:
        stage = Double()
        stage.gate = threading.Event()
        engine = Engine([one_stage(stage, "thread")])
        first = asyncio.create_task(engine.infer("p", request(1.0)))
        await asyncio.sleep(0)
        engine.begin_drain()
        with pytest.raises(Unanswered) as caught:
            await engine.infer("p", request(2.0))
        assert caught.value.outcome is Outcome.DRAINING
        drained = asyncio.create_task(engine.drained())
        await asyncio.sleep(0)
        assert not drained.done()
        stage.gate.set()
        await drained
        assert first.done()
        engine.close()

    uvloop.run(main())


def test_several_pipelines_share_an_engine() -> None:
    async def main() -> None:
        one = one_stage(Double())
        other = compile_pipeline("q", {"x": FP32N}, {"y": FP32N}, {"d": StageUse(Double())})
        engine = Engine([one, other])
        answers = await asyncio.gather(
            engine.infer("p", request(1.0)), engine.infer("q", request(5.0))
        )
        assert [a["y"].tolist() for a in answers] == [[2.0], [10.0]]
        engine.close()

    uvloop.run(main())


async def test_a_run_that_waited_for_another_on_the_loop_has_not_worked_meanwhile() -> None:
    class Slow(Double):
        def process(self, batch: Batch) -> Mapping[str, Array]:
            time.sleep(0.05)
            return super().process(batch)

    use = StageUse(Slow(), StagePlan(concurrency=2, batch_rows_max=1), "inline")
    engine = Engine([compile_pipeline("p", {"x": FP32N}, {"y": FP32N}, {"slow": use})])
    await asyncio.gather(*(engine.infer("p", request(1)) for _ in range(2)))
    worked_ns = engine.statistics().stages[0].service_ns
    assert worked_ns.count == 2
    assert 100_000_000 <= worked_ns.total < 135_000_000, "150 ms with the wait"
    engine.close()
