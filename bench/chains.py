"""Two chains of hops that do nothing: the engine's, and bare `asyncio.Queue`s as its anchor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StagePlan
from sedp.live import Engine
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Params, Stage

FP32N = TensorSpec.parse("FP32[n]")
REQUEST = Batch({"c0": np.ones(1, np.float32)}, np.array([0, 1]))

Ask = Callable[[], Awaitable[object]]


class Pass(Stage):
    """Hands its column on as it is."""

    def __init__(self, reads: str, writes: str) -> None:
        super().__init__(Params())
        self.reads, self.writes = reads, writes

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {self.reads: FP32N.column}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.writes: ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {self.writes: batch[self.reads]}


def pass_pipeline(stages: int, executor: str = "inline") -> Pipeline:
    """A chain of `stages` stages that do nothing."""
    uses = {
        f"s{number}": StageUse(Pass(f"c{number}", f"c{number + 1}"), StagePlan(), executor)
        for number in range(stages)
    }
    return compile_pipeline("pass", {"c0": FP32N}, {f"c{stages}": FP32N}, uses)


class EngineChain:
    """The engine with a pipeline that does nothing; make it inside a running loop."""

    def __init__(self, stages: int, executor: str = "inline") -> None:
        self.engine = Engine([pass_pipeline(stages, executor)])

    def ask(self) -> Awaitable[object]:
        return self.engine.infer("pass", REQUEST)

    def events_per_batch(self) -> float:
        stages = self.engine.statistics().stages
        return sum(stage.events for stage in stages) / sum(stage.batches for stage in stages)

    async def close(self) -> None:
        await self.engine.drained()
        self.engine.close()


class QueueChain:
    """A task a hop, an `asyncio.Queue` before each, a future for the answer."""

    def __init__(self, hops: int) -> None:
        self._loop = asyncio.get_running_loop()
        queues: list[asyncio.Queue[asyncio.Future[None]]] = [
            asyncio.Queue(1024) for _ in range(hops)
        ]
        self.first = queues[0]
        self._tasks = [
            asyncio.create_task(self._hop(queue, behind))
            for queue, behind in zip(queues, [*queues[1:], None], strict=True)
        ]

    async def ask(self) -> None:
        answer: asyncio.Future[None] = self._loop.create_future()
        await self.first.put(answer)
        await answer

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hop(
        self,
        queue: asyncio.Queue[asyncio.Future[None]],
        behind: asyncio.Queue[asyncio.Future[None]] | None,
    ) -> None:
        while True:
            answer = await queue.get()
            if behind is None:
                answer.set_result(None)
            else:
                await behind.put(answer)


async def seconds_for(ask: Ask, requests: int, callers: int) -> float:
    """Time for `requests`, asked by `callers` that each wait for their answer, then ask again."""

    async def call(count: int) -> None:
        for _ in range(count):
            await ask()

    started = time.perf_counter()
    await asyncio.gather(*(call(requests // callers) for _ in range(callers)))
    return time.perf_counter() - started


async def median_us(ask: Ask, requests: int) -> float:
    """Median time of one request at a time."""
    times_ns = []
    for _ in range(requests):
        started_ns = time.perf_counter_ns()
        await ask()
        times_ns.append(time.perf_counter_ns() - started_ns)
    return float(np.median(times_ns)) / 1e3


async def median_start_us(ask: Ask, requests: int) -> float:
    """Median time until a caller has handed its request over and begins to wait."""
    starts = [FirstStep(ask()) for _ in range(requests)]
    for start in starts:
        await start
    return float(np.median([start.ns for start in starts])) / 1e3


class FirstStep:
    """Awaits something and measures its run up to the first point where it waits."""

    def __init__(self, awaitable: Awaitable[object]) -> None:
        self._awaitable = awaitable
        self.ns = 0

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._awaitable.__await__()
        started_ns = time.perf_counter_ns()
        try:
            waited_for = next(steps)
            self.ns = time.perf_counter_ns() - started_ns
            while True:
                waited_for = steps.send((yield waited_for))
        except StopIteration:
            return
