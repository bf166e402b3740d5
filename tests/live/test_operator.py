"""Where `auto` runs a stage: quick ones inline, slow and waiting ones in threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.operator import Operator
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


def places(work: Callable[[], None], runs: int, executor: str = "auto") -> list[bool]:
    """Whether each of `runs` runs was inline."""
    tensor = TensorSpec.parse("FP32[n]")
    use = StageUse(Working(work), executor=executor)
    pipeline = compile_pipeline("p", {"x": tensor}, {"y": tensor}, {"s": use})
    operator = Operator(pipeline.stages[0], 0)
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
    seen = places(lambda: None, 400)
    assert not any(seen[:2]), "the first runs are spent measuring"
    assert sum(seen) > 200  # not all: a busy machine may make any run look long


def test_a_busy_stage_stays_in_threads() -> None:
    assert not any(places(lambda: burn(10), 40))


def test_a_stage_that_waits_stays_in_threads() -> None:
    assert not any(places(lambda: time.sleep(0.01), 40))


def test_a_slow_first_run_does_not_count() -> None:
    first = iter([50.0])
    assert any(places(lambda: burn(next(first, 0.0)), 40))


def test_a_stage_that_becomes_slow_returns_to_threads() -> None:
    work = iter([0.0] * 60)
    seen = places(lambda: burn(next(work, 10.0)), 80)
    assert any(seen[:60])
    assert not any(seen[-10:])


def test_a_fixed_executor_is_kept() -> None:
    assert not any(places(lambda: None, 50, "thread"))
    assert all(places(lambda: burn(1), 20, "inline"))
