"""Requests on their way in: those of one turn of the loop are admitted together, none is lost."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from sedp.answer import Unanswered
from sedp.engine.events import Outcome
from sedp.live import Engine
from tests.live.double import Double, one_stage, request


def test_callers_of_one_turn_share_a_batch() -> None:
    async def main() -> None:
        stage = Double()
        engine = Engine([one_stage(stage, "inline")])
        answers = await asyncio.gather(*(engine.infer("p", request(i, i)) for i in (1.0, 2.0, 3.0)))
        assert [answer["y"].tolist() for answer in answers] == [[2 * i] * 2 for i in (1, 2, 3)]
        assert stage.batches == [3], "one batch of three events"
        engine.close()

    uvloop.run(main())


def test_a_caller_that_leaves_before_it_was_admitted_is_counted() -> None:
    async def main() -> None:
        engine = Engine([one_stage(Double(), "inline")])
        caller = asyncio.create_task(engine.infer("p", request(1.0)))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await engine.drained()
        assert sum(engine.statistics().pipelines[0].outcomes.values()) == 1
        engine.close()

    uvloop.run(main())


def test_what_arrived_before_the_drain_is_answered() -> None:
    async def main() -> None:
        engine = Engine([one_stage(Double(), "inline")])
        caller = asyncio.create_task(engine.infer("p", request(1.0)))
        await asyncio.sleep(0)
        engine.begin_drain()
        late = asyncio.create_task(engine.infer("p", request(1.0)))
        await engine.drained()
        assert (await caller)["y"].tolist() == [2.0]
        with pytest.raises(Unanswered) as caught:
            await late
        assert caught.value.outcome is Outcome.DRAINING
        engine.close()

    uvloop.run(main())
