"""What runs of a pipeline's stages cost on this machine, as the simulator wants to know it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Batch
from sedp.operator import Operator
from sedp.payload import Moment, Payload
from sedp.pipeline import Pipeline
from sedp.simulator.service import LinearService, StageCost

FIT_RUNS = 180
FIT_EVENTS = (1, 3, 8, 20)
FIT_PRESSURES = (0, 1000)  # permille: idle, and as much as can be borne


def fit_service(
    pipeline: Pipeline,
    requests: Sequence[Batch],
    rows_of: Callable[[Payload], int] = lambda payload: payload.rows,
) -> LinearService:
    """Processor time of each stage over runs, events and rows.

    Args:
        pipeline: its stages opened.
        rows_of: that the next stage will work on, of an event.
    """
    operators = [Operator(bound, at) for at, bound in enumerate(pipeline.stages)]
    samples: list[list[tuple[float, ...]]] = [[] for _ in operators]
    for turn in range(FIT_RUNS):
        events = FIT_EVENTS[turn % len(FIT_EVENTS)]
        pressure = FIT_PRESSURES[turn // len(FIT_EVENTS) % len(FIT_PRESSURES)]
        payloads = [
            Payload(requests[(turn * 7 + at) % len(requests)], len(operators))
            for at in range(events)
        ]
        for operator, sample in zip(operators, samples, strict=True):
            rows = sum(rows_of(payload) for payload in payloads)
            started_ns = time.process_time_ns()
            operator.run(payloads, Moment(pressure=pressure))
            sample.append((1.0, events, rows, time.process_time_ns() - started_ns))
    return LinearService(tuple(_fit_stage(np.array(sample)) for sample in samples))


def _fit_stage(sample: NDArray[np.float64]) -> StageCost:
    """Least squares relative to the time itself, of costs that are not negative."""
    known = sample[len(sample) // 4 :]  # the first ones pay for what is done once
    inputs, taken = known[:, :3] / known[:, 3:], np.ones(len(known))
    used = np.ones(3, np.bool_)
    costs = np.zeros(3)
    while used.any():  # at most three times: each drops a cost
        costs = np.zeros(3)
        costs[used] = np.linalg.lstsq(inputs[:, used], taken)[0]
        if (costs >= 0).all():
            break
        used &= costs > 0
    return StageCost(int(costs[0]), row_ns=float(costs[2]), event_ns=float(costs[1]))
