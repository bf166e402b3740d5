"""Scores of the query cache go by the versions of the store's tables."""

from __future__ import annotations

import asyncio
import threading

from sedp.live import Engine
from tests.stages.cached_pipeline import CachedPipeline, score_of
from tests.stages.dict_store import DictStore
from tests.stages.test_query_cache import scores_of, until_looked_up


async def test_scores_from_before_another_version_of_a_table_are_void() -> None:
    store = DictStore()
    cached = CachedPipeline(store=store)
    engine = Engine([cached.pipeline])
    assert await scores_of(engine, 7, [1, 2]) == [score_of(7, 1), score_of(7, 2)]
    cached.rank.round, store.publications = 1, 1
    for _ in range(2):
        assert await scores_of(engine, 7, [1]) == [score_of(7, 1, 1)]
    cached.rank.round = 2
    assert await scores_of(engine, 7, [2]) == [score_of(7, 2, 2)]  # void still
    assert await scores_of(engine, 7, [1]) == [score_of(7, 1, 1)]  # and this one kept
    engine.close()


async def test_scores_on_their_way_when_a_table_changes_are_not_kept() -> None:
    store = DictStore()
    cached = CachedPipeline(executor="thread", store=store)
    cached.rank.gate = threading.Event()
    engine = Engine([cached.pipeline])
    first = asyncio.create_task(scores_of(engine, 7, [1]))
    await until_looked_up(cached, 1)
    store.publications = 1
    second = asyncio.create_task(scores_of(engine, 8, [1]))
    await until_looked_up(cached, 2)
    cached.rank.gate.set()
    assert (await first, await second) == ([score_of(7, 1)], [score_of(8, 1)])
    cached.rank.round = 1
    assert await scores_of(engine, 7, [1]) == [score_of(7, 1, 1)]
    engine.close()
