"""The query cache in a pipeline: what is served is right, and what is saved is not computed."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sedp.answer import Unanswered
from sedp.columns import Batch, TensorSpec, zero_batch
from sedp.engine.graph import StageCare, StagePlan
from sedp.errors import StageError
from sedp.live import Engine
from sedp.pipeline import StageUse, compile_pipeline
from sedp.pipeline_checks import PipelineError
from sedp.stage import Resources
from sedp.stages.query_cache import QueryCache
from sedp.stages.query_cache_fill import STOOD_IN, QueryCacheFill
from tests.engine.test_narrowing import Keep
from tests.live.double import turn_twice
from tests.stages.cached_pipeline import INPUTS, CachedPipeline, Score, request, score_of
from tests.stages.lone_stage import column_types, make_batch, make_stage


async def scores_of(engine: Engine, user: int, items: list[int], tenant: int = 0) -> list[float]:
    answer = await engine.infer("p", request(user, items), tenant=tenant)
    assert answer.degraded == ()
    return [float(score) for score in answer["score"]]


async def test_candidates_scored_lately_are_not_computed_again() -> None:
    cached = CachedPipeline()
    engine = Engine([cached.pipeline])
    assert await scores_of(engine, 7, [1, 2, 3]) == score_of(7, np.array([1, 2, 3])).tolist()
    assert await scores_of(engine, 7, [3, 4, 1, 4]) == score_of(7, np.array([3, 4, 1, 4])).tolist()
    assert cached.rank.rows == 4
    assert await scores_of(engine, 7, [1, 2]) == score_of(7, np.array([1, 2])).tolist()
    assert cached.rank.rows == 4
    counts = cached.cache.statistics()
    assert counts is not None
    assert (counts.requests, counts.whole) == (3, 1)
    assert (counts.hits, counts.repeated, counts.misses, counts.saved_rows) == (4, 1, 4, 5)
    assert asdict(counts)["saved_rows"] == 5  # so it is among the metrics
    engine.close()


@pytest.mark.parametrize("executor", ["inline", "thread", "auto"])
@pytest.mark.parametrize("plan", [StagePlan(), StagePlan(batch_rows_max=16)])
async def test_many_callers_at_once_get_their_own_scores(executor: str, plan: StagePlan) -> None:
    cached = CachedPipeline(executor=executor, plan=plan)
    engine = Engine([cached.pipeline])
    rng = np.random.default_rng(5)

    async def ask() -> None:
        user, items = int(rng.integers(5)), rng.integers(0, 40, 12)
        assert await scores_of(engine, user, items.tolist()) == score_of(user, items).tolist()

    for _ in range(10):
        await asyncio.gather(*(ask() for _ in range(30)))
    counts = cached.cache.statistics()
    assert counts is not None
    assert counts.candidates == 300 * 12
    assert counts.misses == counts.stored == cached.rank.rows <= 5 * 40
    engine.close()


async def test_what_another_request_computes_is_waited_for() -> None:
    cached = CachedPipeline(executor="thread", pending=10_000_000_000)
    cached.rank.gate = threading.Event()
    engine = Engine([cached.pipeline])
    first = asyncio.create_task(scores_of(engine, 7, [1, 2]))
    await until_looked_up(cached, 1)
    others = [asyncio.create_task(scores_of(engine, 7, [2, 1])) for _ in range(5)]
    await until_looked_up(cached, 6)
    cached.rank.gate.set()
    assert await first == [score_of(7, 1), score_of(7, 2)]
    assert await asyncio.gather(*others) == [[score_of(7, 2), score_of(7, 1)]] * 5
    assert cached.rank.rows == 2
    engine.close()


async def until_looked_up(cached: CachedPipeline, requests: int) -> None:
    while (counts := cached.cache.statistics()) is None or counts.requests < requests:
        await turn_twice()


async def test_who_waited_in_vain_is_degraded_and_the_next_is_not() -> None:
    cached = CachedPipeline(executor="thread", pending=10_000_000_000, fallback=0.125)
    cached.rank.gate = threading.Event()
    cached.rank.fails = True
    engine = Engine([cached.pipeline])
    first = asyncio.create_task(scores_of(engine, 7, [1]))
    await until_looked_up(cached, 1)
    second = asyncio.create_task(engine.infer("p", request(7, [1])))
    await until_looked_up(cached, 2)
    cached.rank.gate.set()
    with pytest.raises(Unanswered):
        await first
    cached.rank.fails = False
    answer = await second
    assert (answer["score"].tolist(), answer.degraded) == ([0.125], ("fill",))
    assert await scores_of(engine, 7, [1]) == [score_of(7, 1)]
    engine.close()


async def test_feedback_makes_scores_be_computed_again() -> None:
    cached = CachedPipeline()
    engine = Engine([cached.pipeline])
    assert await scores_of(engine, 7, [1]) == [score_of(7, 1)]
    assert await scores_of(engine, 8, [1]) == [score_of(8, 1)]
    cached.rank.round = 1
    cached.cache.feedback(np.array([7], np.uint64), 1 << 60)
    assert await scores_of(engine, 8, [1]) == [score_of(8, 1)]
    assert await scores_of(engine, 7, [1]) == [score_of(7, 1, 1)]
    engine.close()


async def test_tenants_share_no_scores() -> None:
    cached = CachedPipeline()
    engine = Engine([cached.pipeline])
    assert await scores_of(engine, 7, [1], tenant=1) == [score_of(7, 1)]
    cached.rank.round = 1
    assert await scores_of(engine, 7, [1], tenant=2) == [score_of(7, 1, 1)]
    assert await scores_of(engine, 7, [1], tenant=1) == [score_of(7, 1)]
    engine.close()


async def test_a_version_sees_no_scores_of_another_even_beside_it() -> None:
    old, new = CachedPipeline(), CachedPipeline()
    new.rank.round = 1
    engines = [Engine([old.pipeline]), Engine([new.pipeline])]
    for _ in range(2):
        assert await scores_of(engines[0], 7, [1]) == [score_of(7, 1)]
        assert await scores_of(engines[1], 7, [1]) == [score_of(7, 1, 1)]
    for engine in engines:
        engine.close()


async def test_scores_of_a_fallback_are_not_kept() -> None:
    care = StageCare(has_fallback=True)
    cached = CachedPipeline(care, {"fresh": 0.5})
    cached.rank.fails = True
    engine = Engine([cached.pipeline])
    answer = await engine.infer("p", request(7, [1]))
    assert (answer["score"].tolist(), answer.degraded) == ([0.5], ("rank",))
    cached.rank.fails = False
    assert await scores_of(engine, 7, [1]) == [score_of(7, 1)]
    engine.close()


def test_a_cut_between_the_halves_is_refused() -> None:
    cache = make_stage(QueryCache, user="user", item="item", scores=["score"])
    fill = make_stage(QueryCacheFill, scores={"score": "fresh"})
    uses = {
        "cache": StageUse(cache),
        "cut": StageUse(Keep("item", "kept", 2), after=("cache",)),
        "rank": StageUse(Score(), after=("cut",)),
        "fill": StageUse(fill),
    }
    outputs = {"score": TensorSpec.parse("FP32[n]"), "kept": TensorSpec.parse("BOOL[n]")}
    with pytest.raises(PipelineError, match=r"'fill' widens.* narrow before it is 'cut'"):
        compile_pipeline("p", INPUTS, outputs, uses)


def test_candidates_left_out_in_between_are_not_taken_for_scores() -> None:
    cache = make_stage(QueryCache, user="user", item="item", scores=["score"])
    fill = make_stage(QueryCacheFill, scores={"score": "fresh"})
    cache.open(Resources(Path()))
    asked = look_up_batch(0, 0.0, [0, 1, 2])
    told = dict(cache.process(asked))
    short = {name: column[:2] if len(column) == 3 else column for name, column in told.items()}
    fresh = {"fresh": np.zeros(2, np.float32), "engine.stood_in": np.zeros(1, np.bool_)}
    with pytest.raises(StageError, match="of 3 candidates looked up 2 came back"):
        fill.process(Batch(dict(asked.columns) | short | fresh, np.array([0, 2])))


def look_up_batch(now_ns: int, pressure: float, items: list[int]) -> Batch:
    return make_batch(
        [len(items)],
        {
            "user": np.array([7]),
            "item": np.array(items),
            "engine.now_ns": np.array([now_ns]),
            "engine.tenant": np.array([0]),
            "engine.pressure": np.array([pressure], np.float32),
        },
    )


def test_old_scores_are_served_under_pressure_only_and_marked() -> None:
    cache = make_stage(
        QueryCache,
        user="user",
        item="item",
        scores=["score"],
        stale_above=0.9,
        ttl=1_000_000,
        stale_ttl=2_000_000,
        pending=0,
    )
    fill = make_stage(QueryCacheFill, scores={"score": "fresh"})
    cache.open(Resources(Path()))
    told = dict(cache.process(look_up_batch(0, 0.0, [1])))
    fresh = {"fresh": np.array([0.5], np.float32), "engine.now_ns": np.array([10])}
    stood_in = {STOOD_IN: np.array([False])}
    fill.process(make_batch([1], told | fresh | stood_in))
    for now_ns, pressure, miss, stale in (
        (1_000_000, 0.95, False, False),
        (1_000_001, 0.85, True, False),
        (1_000_001, 0.95, False, True),
        (2_000_001, 0.95, True, False),
    ):
        told = dict(cache.process(look_up_batch(now_ns, pressure, [1])))
        assert told["cache.miss"].tolist() == [miss], (now_ns, pressure)
        assert told["cache.stale"].tolist() == [stale], (now_ns, pressure)


def test_several_scores_go_by_their_names() -> None:
    cache = make_stage(QueryCache, user="user", item="item", scores=["like", "buy"])
    fill = make_stage(QueryCacheFill, scores={"like": "a", "buy": "b"})
    cache.open(Resources(Path()))
    stood_in = {STOOD_IN: np.array([False])}
    for a, b in ([1.0, 2.0], [0.0, 0.0]):
        told = dict(cache.process(look_up_batch(5, 0.0, [1])))
        fresh = {"a": np.array([a], np.float32), "b": np.array([b], np.float32)}
        now = {"engine.now_ns": np.array([10])}
        merged = fill.process(make_batch([1], told | fresh | now | stood_in))
        assert (merged["like"].tolist(), merged["buy"].tolist()) == ([1.0], [2.0])


def test_examples_leave_no_trace() -> None:
    cached = CachedPipeline()
    for bound in cached.pipeline.stages:
        if bound.name != "rank":
            for batch in bound.use.stage.examples(bound.inputs):
                bound.use.stage.process(batch)
    counts = cached.cache.statistics()
    assert counts is not None
    assert (counts.requests, counts.candidates, counts.crowded) == (0, 0, 0)


def test_without_the_first_half_all_that_is_fresh_is_answered() -> None:
    fill = make_stage(QueryCacheFill, scores={"score": "fresh"})
    batch = zero_batch({n: s for n, s in fill.requires.items() if s is not None}, (2, 1))
    fresh = np.array([1, 2, 3], np.float32)
    result = fill.process(Batch({**batch.columns, "fresh": fresh}, batch.splits))
    assert result["score"].tolist() == [1, 2, 3]


def test_halves_that_disagree_on_the_scores_are_refused() -> None:
    cache = make_stage(QueryCache, user="user", item="item", scores=["score", "other"])
    fill = make_stage(QueryCacheFill, scores={"score": "fresh"})
    uses = {"cache": StageUse(cache), "rank": StageUse(Score()), "fill": StageUse(fill)}
    with pytest.raises(PipelineError, match=r"cache\.request\[score\]"):
        compile_pipeline("p", INPUTS, {"score": TensorSpec.parse("FP32[n]")}, uses)


@pytest.mark.parametrize(
    ("types", "complaint"),
    [
        ({"user": "INT64[n]", "item": "INT64[n]"}, "'user' is INT64"),
        ({"user": "INT64[1]", "item": "INT64[1]"}, "'item' is INT64"),
        ({"user": "FP32[1]", "item": "INT64[n]"}, "a key is made of integers"),
    ],
)
def test_keys_that_are_none_are_refused(types: dict[str, str], complaint: str) -> None:
    stage = make_stage(QueryCache, user="user", item="item", scores=["score"])
    with pytest.raises(ValueError, match=complaint):
        stage.provides(column_types(types))


def test_a_score_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="name a column twice"):
        make_stage(QueryCache, user="user", item="item", scores=["score", "score"])


def test_a_score_that_is_called_as_a_column_of_the_cache_is_refused() -> None:
    with pytest.raises(ValueError, match=r"called \['miss'\]"):
        make_stage(QueryCache, user="user", item="item", scores=["miss"])
