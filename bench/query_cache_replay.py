"""Traffic that repeats, through the query cache: on a virtual clock, and through the engine.

Users come by a Zipf law and page through a pool of candidates of their own; some react to what they
see. A user's scores change with each reaction, so that one that feedback has overtaken would be
wrong, and show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

from bench.figure import measure_in_turn
from bench.store_batches import draw_ranks
from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import StagePlan
from sedp.live import Engine
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Params, Resources, Stage
from sedp.stages.query_cache import QueryCache
from sedp.stages.query_cache_fill import QueryCacheFill
from sedp.stages.score_table import Ages, ScoreKeys, ScoreTable

USERS, SKEW = 20_000, "Zipf 1.05"
POOL, PAGE = 300, 100  # candidates of a user, and of a request
RATE = 100  # requests a second
BATCH = 10  # requests
FEEDBACK_SHARE = 0.02  # of requests
SECOND_NS = 1_000_000_000
AGES = Ages(120 * SECOND_NS, 600 * SECOND_NS, SECOND_NS // 10)
CALLERS = 32
EXACT = 1e-5  # a sum rounds by its shape: this is no other score

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay; shares are 0..1."""

    candidate_hits: float
    request_hits: float
    saved: float
    oldest_s: float
    wrong: int
    checked: int


def draw_items(users: Ints, dice: np.random.Generator) -> Ints:
    """int64[requests, PAGE]: a page of each user's own pool."""
    first = dice.integers(0, POOL // 50, len(users)) * 50
    places = (first[:, np.newaxis] + np.arange(PAGE)) % POOL
    return users[:, np.newaxis] * POOL + places


def replay(seconds: int, dice: np.random.Generator) -> Replayed:
    """Requests in batches on a virtual clock; every answer is checked."""
    table = ScoreTable(2, 64 << 20, AGES)
    reactions = np.zeros(USERS, np.int64)
    users = draw_ranks(SKEW, USERS, seconds * RATE // BATCH * BATCH, dice)
    oldest_ns, wrong = 0, 0
    for number, page in enumerate(users.reshape(-1, BATCH)):
        now_ns = number * BATCH * SECOND_NS // RATE
        items = draw_items(page, dice)
        keys = ScoreKeys(
            page.astype(np.uint64),
            np.zeros(BATCH, np.uint64),
            items.ravel().astype(np.uint64),
            np.arange(0, items.size + 1, PAGE),
        )
        # Two scores: one that a reaction changes, and the moment it was computed, in batches.
        right = (items * 7 + reactions[page, np.newaxis] * 13).ravel() % 65_521 + 1
        found = table.look_up(keys, now_ns)
        scores = np.stack([right, np.full(right.shape, number + 1)]).astype(np.float32)
        scores[:, ~found.miss] = 0
        lost = table.fill(keys, np.full(BATCH, now_ns), now_ns, found, scores)
        wrong += int(np.count_nonzero(scores[0] != right)) + int(lost.sum())
        oldest_ns = max(oldest_ns, int(number + 1 - scores[1].min()) * BATCH * SECOND_NS // RATE)
        who = page[dice.random(BATCH) < FEEDBACK_SHARE]
        reactions[np.unique(who)] += 1
        table.note_feedback(who.astype(np.uint64), now_ns)
    counts = table.statistics()
    return Replayed(
        counts.hits / counts.candidates,
        counts.whole / counts.requests,
        counts.saved_rows / counts.candidates,
        oldest_ns / 1e9,
        wrong,
        counts.candidates,
    )


class Waves(Stage):
    """`writes`: a score that takes the work of `waves` cosines a candidate."""

    def __init__(self, writes: str, waves: int, seed: int) -> None:
        super().__init__(Params())
        self._writes = writes
        self._waves = np.random.default_rng(seed).normal(0, 1, waves).astype(np.float32)

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"user": None, "item": None}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self._writes: ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {self._writes: self.scores(batch["item"])}

    def scores(self, items: Ints) -> NDArray[np.float32]:
        """float32[n] of item ids, which tell their user."""
        places = (items % 65_521).astype(np.float32)
        scores: NDArray[np.float32] = 1 + np.cos(np.outer(places, self._waves)).mean(axis=1)
        return scores


def _pipeline(waves: int, seed: int, cached: bool) -> tuple[Pipeline, QueryCache | None]:
    """The ranker alone, or between the halves of a cache; opened."""
    inputs = {"user": TensorSpec.parse("INT64[1]"), "item": TensorSpec.parse("INT64[n]")}
    outputs = {"score": TensorSpec.parse("FP32[n]")}
    plan = StagePlan(batch_rows_max=BATCH * PAGE)
    if not cached:
        uses = {"rank": StageUse(Waves("score", waves, seed), plan)}
        return compile_pipeline("p", inputs, outputs, uses), None
    settings = {"user": "user", "item": "item", "scores": ["score"]}
    cache = QueryCache(msgspec.convert(settings, QueryCache.Params))
    fill = QueryCacheFill(msgspec.convert({"scores": {"score": "fresh"}}, QueryCacheFill.Params))
    cache.open(Resources(Path()))
    uses = {
        "cache": StageUse(cache, plan),
        "rank": StageUse(Waves("fresh", waves, seed), plan, after=("cache",)),
        "fill": StageUse(fill, plan),
    }
    return compile_pipeline("p", inputs, outputs, uses), cache


def live_rates(
    rounds: int, requests: int, waves: int, seed: int
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Requests a second of CPU with a cache and without, wrong answers, and hits a candidate."""
    dice = np.random.default_rng(seed)
    users = draw_ranks(SKEW, USERS, requests, dice)
    items = draw_items(users, dice)
    right = np.stack([Waves("score", waves, seed).scores(page) for page in items])
    wrong, hits = list[float](), list[float]()

    async def rate(cached: bool) -> float:
        pipeline, cache = _pipeline(waves, seed, cached)
        engine = Engine([pipeline])
        answers = np.zeros_like(right)
        numbers = iter(range(requests))

        async def call() -> None:
            for number in numbers:
                columns = {"user": users[number : number + 1], "item": items[number]}
                answer = await engine.infer("p", Batch(columns, np.array([0, PAGE])))
                answers[number] = np.nan if answer.degraded else answer["score"]

        started = time.process_time()  # whatever else the machine does
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        taken = time.process_time() - started
        await engine.drained()
        engine.close()
        if cache is not None and (counts := cache.statistics()) is not None:
            wrong.append(float(np.count_nonzero(~(np.abs(answers - right) <= EXACT))))
            hits.append(counts.hits / counts.candidates)
        return requests / taken

    with_cache, without = measure_in_turn(
        rounds, lambda: uvloop.run(rate(True)), lambda: uvloop.run(rate(False))
    )
    return with_cache, without, wrong, hits
