"""Where `auto` runs a stage: quick ones inline, slow and waiting ones in threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StageCare
from sedp.manager.loop_bounds import COMES_NS_MAX, HOLDS_NS_MAX
from sedp.operator import RUNS_AFTER, Operator
from sedp.payload import Payload
from sedp.pipeline import StageUse, compile_pipeline
from sedp.stage import Params, Stage


class Working(Stage):
    """Copies its column after some `work`."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(Params())
        self.work = work

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": ColumnSpec("FP32", Level.ITEM)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        self.work()
        return {"y": batch["x"].copy()}


def operate(
    work: Callable[[], None], executor: str = "auto", care: StageCare | None = None
) -> Operator:
    tensor = TensorSpec.parse("FP32[n]")
    use = StageUse(Working(work), executor=executor, care=care or StageCare())
    pipeline = compile_pipeline("p", {"x": tensor}, {"y": tensor}, {"s": use})
    return Operator(pipeline.stages[0], 0)


def places(operator: Operator, runs: int) -> list[bool]:
    """Whether each of `runs` runs was inline."""
    request = Batch({"x": np.ones(3, np.float32)}, np.array([0, 3]))
    seen = []
    for _ in range(runs):
        seen.append(operator.inline)
        operator.run([Payload(request, 1)])
    return seen


def burn(milliseconds: float) -> None:
    stop_ns = time.thread_time_ns() + int(milliseconds * 1e6)
    while time.thread_time_ns() < stop_ns:
        pass


def test_a_quick_stage_moves_inline() -> None:
    seen = places(operate(lambda: None), 400)
    assert not any(seen[:2]), "the first runs are spent measuring"
    assert sum(seen) > 200  # not all: a busy machine may make any run look long


def test_a_busy_stage_stays_in_threads() -> None:
    assert not any(places(operate(lambda: burn(10)), 40))


def test_a_stage_that_waits_stays_in_threads() -> None:
    assert not any(places(operate(lambda: time.sleep(0.01)), 40))


def test_a_slow_first_run_does_not_count() -> None:
    first = iter([50.0])
    assert any(places(operate(lambda: burn(next(first, 0.0))), 40))


def test_a_stage_that_becomes_slow_returns_to_threads() -> None:
    work = iter([0.0] * 60)
    seen = places(operate(lambda: burn(next(work, 10.0))), 80)
    assert any(seen[:60])
    assert not any(seen[-10:])


def test_a_stage_given_to_auto_stays_where_it_is_until_its_runs_are_known() -> None:
    for before in ("inline", "thread"):
        operator = operate(lambda: None, before)
        operator.change_executor("auto")
        assert places(operator, 2) == [before == "inline"] * 2
    slow = operate(lambda: burn(10), "inline")
    slow.change_executor("auto")
    assert not any(places(slow, 20)[5:])


def test_runs_that_may_be_given_up_never_come_to_the_loop() -> None:
    for care in (StageCare(timeout_ns=10**9), StageCare(hedge_ns=10**9)):
        assert not any(places(operate(lambda: None, care=care), 40))


def test_a_fixed_executor_is_kept() -> None:
    assert not any(places(operate(lambda: None, "thread"), 50))
    assert all(places(operate(lambda: burn(1), "inline"), 20))


def test_flips_are_told_with_the_usual_run_before_and_the_runs_since() -> None:
    work = iter([0.0] * 60)
    operator = operate(lambda: burn(next(work, 10.0)))
    places(operator, 80)
    there, back = operator.flips[0], operator.flips[-1]
    assert (there.inline, back.inline) == (True, False)
    assert there.run_ns < COMES_NS_MAX < HOLDS_NS_MAX <= back.run_ns
    assert 0 < there.runs <= RUNS_AFTER
    assert back.total_ns >= 10_000_000 * back.runs
    assert there.at_ns < back.at_ns


def test_what_is_held_stays_and_flips_when_it_is_let_go() -> None:
    operator = operate(lambda: None)
    operator.is_held = True
    assert not any(places(operator, 60))
    assert not operator.flips
    operator.is_held = False
    assert any(places(operator, 40))
    assert operator.flips[0].inline
