"""Bench `candidate_cut`: what is lost when candidates are cut, and what that saves at 2x demand.

The demo's recorded visits have ten candidates each, too few to cut; so requests are its wide ones:
the same visits with 100 to 800 products that the store promoted that week. All figures are of weeks
51 to 53, which neither the ranker nor the cut was trained on. Quality is NDCG@10 against the full
ranking, and purchases among the ten best as a share of those that the full ranking has there.

Demand is simulated: the stages really run, under the scheduler and admission that serve, while a
virtual clock on two cores goes by costs measured here first; HTTP is not in it. The greatest rate
is found uncut. At twice that rate requests are cut, or, beside it, none is and the same admission
drops requests instead; each round has dice of its own for times and requests. A request that is
dropped or late delivers nothing. The config's share by pressure was chosen on weeks 48 to 50.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np

from bench.candidate_cut_delivered import Delivered
from bench.candidate_cut_demand import Demand
from bench.candidate_cut_quality import Judged, judged_requests
from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.served import prepared_data
from sedp.columns import Array, Batch
from sedp.pipeline import PRESSURE
from sedp.stages.candidate_cut import CandidateCut
from sedp.stages.cut_net import counts_at

SHARES = (0.5, 0.3, 0.2, 0.15, 0.1)
QUICK_SHARES = (0.3, 0.15)
DECISIONS = 300  # timed for each figure of the cost
TIMES_CAPACITY = 2.0
LOSS_MAX = 0.01


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = prepared_data()
    judged = judged_requests(folder)
    rng = np.random.default_rng(seed)
    figures = []
    for share in QUICK_SHARES if quick else SHARES:
        figures += _quality(judged, share, rng)
    figures += _cost(judged, events=1) + _cost(judged, events=8)
    with Demand.opened(folder, judged) as demand:
        return figures + _demand(demand, 1 if quick else 5, 1.0 if quick else 2.0, seed)


def _quality(judged: Judged, share: float, rng: np.random.Generator) -> list[Figure]:
    """Loss of each way to keep this share of all candidates."""
    fixed = counts_at(share, judged.rows, judged.rows_min)
    learned = judged.learned_counts(share)
    random = judged.with_cheap(rng.random(len(judged.cheap)).astype(np.float32))
    ways = {"learned": judged.losses(learned), "random drop": random.losses(fixed)}
    anchor = judged.losses(fixed)
    figures = []
    for name, (loss, bought) in ways.items():
        for what, value, beside in (
            ("loss of NDCG@10", loss, anchor[0]),
            ("purchases lost", bought, anchor[1]),
        ):
            figures.append(
                make_figure(
                    f"{what}, {share:.0%} kept, {name}",
                    "%",
                    [100 * value],
                    anchor="% cheap score, one share for all",
                    anchor_rounds=[100 * beside],
                )
            )
    return figures


def _cost(judged: Judged, events: int) -> list[Figure]:
    """Time of a decision on batches of so many requests."""
    cut = judged.cut
    batches = [_batch(judged, first, events) for first in range(0, 200, events)]
    fixed = CandidateCut(_without_net(cut.params))
    rounds = measure_in_turn(
        5,
        lambda: _time_us(lambda batch: cut.process(batch), batches, events),
        lambda: _time_us(lambda batch: fixed.process(batch), batches, events),
        lambda: _time_us(_partition, batches, events),
    )
    anchor = "us bare argpartition a request"
    return [
        make_figure(
            f"decision a request, {name}, batch of {events}",
            "us",
            taken,
            goal=Goal(100),
            anchor=anchor,
            anchor_rounds=rounds[2],
        )
        for name, taken in (("learned", rounds[0]), ("one share", rounds[1]))
    ]


def _without_net(params: CandidateCut.Params) -> CandidateCut.Params:
    return msgspec.structs.replace(params, learned=None)


def _batch(judged: Judged, first: int, events: int) -> Batch:
    splits = judged.splits[first : first + events + 1]
    rows = slice(splits[0], splits[-1])
    columns: dict[str, Array] = {name: column[rows] for name, column in judged.used.items()}
    columns[PRESSURE] = np.full(events, 0.25, np.float32)
    return Batch(columns, splits - splits[0])


def _partition(batch: Batch) -> None:
    """The least that any cut has to do: find the best tenth of ready scores."""
    [scores, *_] = (column[:, 0] for column in batch.columns.values() if column.ndim == 2)
    splits = batch.splits.tolist()
    for first, stop in pairwise(splits):
        np.argpartition(scores[first:stop], (stop - first) // 10)


def _time_us(work: Callable[[Batch], object], batches: list[Batch], events: int) -> float:
    """Median over batches, a request."""
    taken = []
    for turn in range(DECISIONS):
        batch = batches[turn % len(batches)]
        started = time.perf_counter_ns()
        work(batch)
        taken.append(time.perf_counter_ns() - started)
    return float(np.median(taken)) / events / 1e3


def _demand(demand: Demand, rounds: int, seconds: float, seed: int) -> list[Figure]:
    """Twice what can be answered uncut: with the cut, and beside it with requests dropped."""
    capacity = demand.capacity(1.0)
    rate = TIMES_CAPACITY * capacity
    cut: list[Delivered] = []
    dropped: list[Delivered] = []
    for turn in range(rounds):
        cut.append(demand.run(rate, seconds, seed + turn, cut=True))
        dropped.append(demand.run(rate, seconds, seed + turn, cut=False))
    at = f"at {TIMES_CAPACITY:g}x"
    anchor = "requests dropped instead"

    def figure(name: str, unit: str, key: str, goal: Goal | None = None) -> Figure:
        scale = 100 if unit == "%" else 1
        values, beside = (
            [scale * float(getattr(way, key)) for way in ways] for ways in (cut, dropped)
        )
        goal = goal and replace(goal, limit=scale * goal.limit)
        return make_figure(
            f"{name} {at}", unit, values, goal=goal, anchor=anchor, anchor_rounds=beside
        )

    return [
        make_figure("greatest rate uncut", "req/s", [capacity]),
        figure("answered within the target", "%", "in_time", Goal(1.0, at_most=False)),
        figure("latency p99 of the answered", "ms", "p99_ms"),
        figure("loss of NDCG@10, answered", "%", "loss", Goal(LOSS_MAX)),
        figure("purchases lost, answered", "%", "purchases_lost", Goal(LOSS_MAX)),
        figure("candidates kept", "%", "kept"),
        figure("quality delivered, of all asked", "%", "delivered", Goal(0.99, at_most=False)),
        figure("purchases kept, of all asked", "%", "purchases_kept", Goal(0.99, at_most=False)),
    ]
