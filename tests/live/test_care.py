"""Fallbacks, time-outs and marks of degraded answers, with real threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest

from sedp.answer import Unanswered
from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.events import Outcome
from sedp.engine.graph import StageCare, StagePlan
from sedp.live import Engine
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from tests.live.double import FP32N, Double, request


def careful(stage: Double, care: StageCare, **fallback: float) -> Pipeline:
    use = StageUse(stage, StagePlan(), care=care, fallback=fallback)
    return compile_pipeline("p", {"x": FP32N}, {"y": FP32N}, {"double": use})


async def test_a_hung_stage_is_replaced_by_its_fallback() -> None:
    stage = Double()
    stage.gate = threading.Event()
    care = StageCare(timeout_ns=20_000_000, has_fallback=True)
    engine = Engine([careful(stage, care, y=-1.0)])
    answer = await engine.infer("p", request(1, 2))
    assert answer["y"].tolist() == [-1, -1]
    assert (answer.degraded, answer.failed) == (("double",), True)
    stage.gate.set()
    answer = await engine.infer("p", request(3))
    assert answer["y"].tolist() == [6]
    assert (answer.degraded, answer.failed) == ((), False)
    statistics = engine.statistics()
    assert statistics.pipelines[0].degraded == {"double": 1}
    assert (statistics.stages[0].timeouts, statistics.stages[0].fallbacks) == (1, 1)
    engine.close()


async def test_without_a_fallback_a_hung_stage_ends_its_events_by_its_own_time() -> None:
    stage = Double()
    stage.gate = threading.Event()
    engine = Engine([careful(stage, StageCare(timeout_ns=20_000_000))])
    with pytest.raises(Unanswered) as unanswered:
        await engine.infer("p", request(1))
    assert (unanswered.value.outcome, unanswered.value.stage) == (Outcome.DEADLINE, "double")
    assert unanswered.value.failed
    stage.gate.set()
    await engine.drained()
    engine.close()


async def test_a_failing_event_falls_back_alone() -> None:
    engine = Engine([careful(Double(), StageCare(has_fallback=True))])
    answer = await engine.infer("p", request(-1))
    assert (answer["y"].tolist(), answer.degraded) == ([0], ("double",))
    assert (await engine.infer("p", request(2)))["y"].tolist() == [4]
    engine.close()


async def test_a_plan_can_be_changed_while_serving() -> None:
    stage = Double()
    stage.gate = threading.Event()
    engine = Engine([careful(stage, StageCare())])
    engine.change_plan(0, StagePlan(queue_rows_max=7))
    engine.change_limit("p", 1)
    assert engine.statistics().stages[0].plan.queue_rows_max == 7
    assert engine.statistics().pipelines[0].in_flight_max == 1
    stage.gate.set()
    engine.close()


class Half(Double):
    """Lets the first half of the candidates through and says so."""

    @property
    def narrows(self) -> str | None:
        return "kept"

    @property
    def degrades(self) -> str | None:
        return "cut"

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        mask, mark = ColumnSpec("BOOL", Level.ITEM), ColumnSpec("BOOL", Level.REQUEST)
        return {"kept": mask, "cut": mark}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        counts = np.diff(batch.splits)
        place = np.arange(batch.row_count) - batch.splits[batch.owners]
        kept = place < (counts[batch.owners] + 1) // 2
        return {"kept": kept, "cut": counts > 1}


async def test_an_answer_holds_zeros_for_candidates_that_were_cut_and_says_so() -> None:
    double = Double()
    uses = {"half": StageUse(Half()), "double": StageUse(double, after=("half",))}
    outputs = {"y": FP32N, "kept": TensorSpec.parse("BOOL[n]")}
    engine = Engine([compile_pipeline("p", {"x": FP32N}, outputs, uses)])
    answer = await engine.infer("p", request(1, 2, 3, 4, 5))
    assert answer["y"].tolist() == [2, 4, 6, 0, 0]
    assert answer["kept"].tolist() == [True, True, True, False, False]
    assert answer.degraded == ("half",)
    assert (await engine.infer("p", request(7))).degraded == ()
    engine.close()
