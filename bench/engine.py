"""Bench `engine`: what a request pays for being scheduled, and how fast time can be simulated.

Stages do nothing, so all that is measured is overhead: bookkeeping, batching, hand-over, wake-ups.
The anchor is what one would write instead: a task and a bare `asyncio.Queue` a hop, on the same
uvloop, in turn with the engine. Goals of the empty request and of enqueueing are the figures of
Ray's founding paper (290 µs and 35 µs).
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import uvloop

from bench.chains import (
    REQUEST,
    EngineChain,
    QueueChain,
    median_start_us,
    median_us,
    pass_pipeline,
    seconds_for,
)
from bench.figure import Figure, Goal, make_figure, measure_in_turn
from sedp.engine.scheduler import Scheduler
from sedp.pipeline import compile_graph
from sedp.simulator.arrival import Arrival
from sedp.simulator.execution import StageExecution
from sedp.simulator.ledger import SimulatedRun
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from sedp.simulator.traffic import poisson

STAGES = 3
MANY_STAGES = 9
CALLERS = 64  # waiting at once where batches are wanted
OFFERED_RATE = 10_000.0  # simulated requests a second
RUN_NS = 1_000_000  # simulated time of a run: makes batches of about ten


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    rounds, requests = (3, 2_000) if quick else (9, 10_000)
    return [
        *_live_overhead(rounds, requests),
        *_lone_requests(rounds, requests // 4),
        *_simulator(rounds, requests * 5, seed),
    ]


def _live_overhead(rounds: int, requests: int) -> list[Figure]:
    """Throughput of chains; a request's time divided by its stages."""

    def us_a_stage(
        chain: type[EngineChain] | type[QueueChain], stages: int, callers: int
    ) -> Callable[[], float]:
        async def once() -> float:
            running = chain(stages)
            await seconds_for(running.ask, callers, callers)  # warm
            seconds = await seconds_for(running.ask, requests, callers)
            if isinstance(running, EngineChain) and callers > 1:
                assert running.events_per_batch() >= 16, "batches are too small for this figure"
            await running.close()
            return seconds * 1e6 / (requests // callers * callers) / stages

        return lambda: uvloop.run(once())

    lone, lone_queue, full, full_queue, long = measure_in_turn(
        rounds,
        us_a_stage(EngineChain, STAGES, 1),
        us_a_stage(QueueChain, STAGES, 1),
        us_a_stage(EngineChain, STAGES, CALLERS),
        us_a_stage(QueueChain, STAGES, CALLERS),
        us_a_stage(EngineChain, MANY_STAGES, CALLERS),
    )
    added = [
        (b * MANY_STAGES - a * STAGES) / (MANY_STAGES - STAGES)
        for a, b in zip(full, long, strict=True)
    ]
    unit = "µs/request/stage"
    queue = f"asyncio.Queue, {STAGES} hops"
    return [
        make_figure(
            f"{STAGES} empty stages, one request at a time",
            unit,
            lone,
            anchor=queue,
            anchor_rounds=lone_queue,
        ),
        make_figure(
            f"{STAGES} empty stages, {CALLERS} callers (batches ≥ 16)",
            unit,
            full,
            goal=Goal(5),
            anchor=queue,
            anchor_rounds=full_queue,
        ),
        make_figure(
            f"each stage more, {CALLERS} callers (batches ≥ 16)",
            unit,
            added,
            anchor=queue,
            anchor_rounds=full_queue,
        ),
    ]


def _lone_requests(rounds: int, requests: int) -> list[Figure]:
    """One stage, one request at a time, median."""

    def with_engine(executor: str, measured: Callable[..., Awaitable[float]]) -> float:
        async def once() -> float:
            chain = EngineChain(1, executor)
            await median_us(chain.ask, 50)
            value = await measured(chain.ask, requests)
            await chain.close()
            return value

        return uvloop.run(once())

    def with_queue(measured: Callable[..., Awaitable[float]]) -> float:
        async def once() -> float:
            chain = QueueChain(1)
            value = await measured(chain.ask, requests)
            await chain.close()
            return value

        return uvloop.run(once())

    empty, queue, enqueue, put, thread, hop = measure_in_turn(
        rounds,
        lambda: with_engine("inline", median_us),
        lambda: with_queue(median_us),
        lambda: with_engine("inline", _median_enqueue_us),
        lambda: with_queue(_median_enqueue_us),
        lambda: with_engine("thread", median_us),
        lambda: uvloop.run(_bare_thread_hop_us(requests)),
    )
    return [
        make_figure(
            "empty one-stage request, inline, p50",
            "µs",
            empty,
            goal=Goal(290),
            anchor="asyncio.Queue, 1 hop",
            anchor_rounds=queue,
        ),
        make_figure(
            "enqueue: until the caller waits, p50",
            "µs",
            enqueue,
            goal=Goal(35),
            anchor="asyncio.Queue.put",
            anchor_rounds=put,
        ),
        make_figure(
            "empty one-stage request, thread, p50",
            "µs",
            thread,
            goal=Goal(290),
            anchor="run_in_executor",
            anchor_rounds=hop,
        ),
    ]


async def _median_enqueue_us(ask: Callable[[], Awaitable[object]], requests: int) -> float:
    return await median_start_us(ask, requests)


async def _bare_thread_hop_us(requests: int) -> float:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as threads:
        return await median_us(lambda: loop.run_in_executor(threads, int), requests)


def _simulator(rounds: int, requests: int, seed: int) -> list[Figure]:
    """Simulated requests a second of real time, three stages."""
    stimuli = _simulate(requests, seed, execute=False).stimuli

    def rate(work: Callable[[], object], count: int = requests) -> Callable[[], float]:
        def timed() -> float:
            started = time.perf_counter()
            work()
            return count / (time.perf_counter() - started)

        return timed

    model, heap, execute = measure_in_turn(
        rounds,
        rate(lambda: _simulate(requests, seed, execute=False)),
        rate(lambda: _bare_heap(stimuli)),
        rate(lambda: _simulate(requests // 5, seed, execute=True), requests // 5),
    )
    unit, anchor = "requests/s", "bare heapq, as many entries"
    goal = Goal(100_000, at_most=False)
    return [
        make_figure("simulator, model", unit, model, goal=goal, anchor=anchor, anchor_rounds=heap),
        make_figure("simulator, execute", unit, execute, anchor=anchor, anchor_rounds=heap),
    ]


def _simulate(requests: int, seed: int, *, execute: bool) -> SimulatedRun:
    pipeline = pass_pipeline(STAGES)
    dice, traffic_dice = np.random.default_rng(seed).spawn(2)
    service = LinearService((StageCost(RUN_NS, row_ns=500.0),) * STAGES)
    execution = StageExecution([pipeline], lambda *answer: None) if execute else None
    simulator = Simulator(Scheduler(compile_graph([pipeline])), service, dice, execution=execution)
    arrivals: Iterator[Arrival] = poisson(OFFERED_RATE, requests, traffic_dice, rows=np.array([1]))
    if execute:
        arrivals = (msgspec.structs.replace(arrival, request=REQUEST) for arrival in arrivals)
    return simulator.run(arrivals)


def _bare_heap(entries: int) -> None:
    """What a heap driver cannot do without: push and pop, a few dozen entries deep."""
    heap: list[tuple[int, int, None]] = [(number, number, None) for number in range(32)]
    for serial in range(entries):
        heapq.heappush(heap, (serial * 7919 % 1_000_003, serial, None))
        heapq.heappop(heap)
