"""Bench `query_cache`: what a look-up costs, and what a cache saves where requests repeat.

The anchor of the table is a gather of rows of an entry's size out of a dense table, by position:
no keys, no ages, no order of eviction. Traffic is generated: Zipf users who page through candidates
of their own. Nobody else's hit ratios follow from that; what does follow is that no answer is wrong
and none too old.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.query_cache_replay import live_rates, replay
from sedp.stages.score_table import Ages, ScoreKeys, ScoreTable

HELD = 500_000  # keys of a table with room for 1.1 million: hardly a set is full
EVENTS, ROWS = 10, 100  # of a batch: ten requests of a hundred candidates
BATCH = EVENTS * ROWS
ENTRY_WORDS = 4  # of one score: user, tenant, item, score and mark
SECOND_NS = 1_000_000_000
AGES = Ages(120 * SECOND_NS, 600 * SECOND_NS, SECOND_NS // 10)
BATCHES_MIN = 50
GAIN = Goal(1.2, at_most=False)
CHEAP_WAVES, USUAL_WAVES = 500, 5_000  # some 1 µs and 10 µs a candidate: below and above the price

Ints = NDArray[np.int64]


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    rounds, seconds = (3, 0.2) if quick else (9, 0.5)
    return [
        *_table_figures(rounds, seconds, np.random.default_rng(seed)),
        *_replay_figures(3, 60 if quick else 300, seed),
        *(
            figure
            for waves in (CHEAP_WAVES, USUAL_WAVES)
            for figure in _live_figures(3 if quick else 5, 400 if quick else 2_000, waves, seed)
        ),
    ]


def _table_figures(rounds: int, seconds: float, dice: np.random.Generator) -> list[Figure]:
    """Times of a table of half a million keys, a key of a batch, beside a dense gather."""
    table = ScoreTable(1, 64 << 20, AGES)
    pool = _keys(np.arange(HELD))
    for at in range(0, len(pool), BATCH):
        _fill(table, pool[at : at + BATCH], 0)
    held = dice.permutation(HELD).reshape(-1, BATCH)
    fresh = iter(range(HELD, 1 << 40, BATCH))
    dense = np.ones((HELD, ENTRY_WORDS), np.uint64)
    rows = np.empty((BATCH, ENTRY_WORDS), np.uint64)

    def hit(number: int) -> int:
        keys = _score_keys(pool[held[number % len(held)]])
        started_ns = time.perf_counter_ns()
        found = table.look_up(keys, number)
        taken_ns = time.perf_counter_ns() - started_ns
        assert np.count_nonzero(found.miss) < BATCH // 10, "the table has lost what it held"
        return taken_ns

    def gather(number: int) -> int:
        ids = held[number % len(held)]
        started_ns = time.perf_counter_ns()
        np.take(dense, ids, axis=0, out=rows, mode="clip")
        return time.perf_counter_ns() - started_ns

    def miss_and_fill(number: int) -> int:
        first = next(fresh)
        keys = _keys(np.arange(first, first + BATCH))
        return _fill(table, keys, AGES.ttl_ns // 2 + number * SECOND_NS)

    hits, gathers = measure_in_turn(rounds, *(_ns_a_key(m, seconds) for m in (hit, gather)))
    both, more = measure_in_turn(rounds, *(_ns_a_key(m, seconds) for m in (miss_and_fill, gather)))
    unit, anchor = "ns/key", "np.take of a dense table"
    return [
        make_figure("look-up, held", unit, hits, anchor=anchor, anchor_rounds=gathers),
        make_figure(
            "look-up, not held, and fill: table full", unit, both, anchor=anchor, anchor_rounds=more
        ),
    ]


def _ns_a_key(batch: Callable[[int], int], seconds: float) -> Callable[[], float]:
    """A measurement: median time of a batch, which it takes itself, by its keys."""

    def measured() -> float:
        taken = list[int]()
        stop_ns = time.perf_counter_ns() + int(seconds * 1e9)
        while len(taken) < BATCHES_MIN or time.perf_counter_ns() < stop_ns:
            taken.append(batch(len(taken)))
        return statistics.median(taken) / BATCH

    return measured


def _keys(numbers: Ints) -> NDArray[np.uint64]:
    """Item ids."""
    return numbers.astype(np.uint64)


def _score_keys(items: NDArray[np.uint64]) -> ScoreKeys:
    """A batch of ten requests."""
    splits = np.linspace(0, len(items), EVENTS + 1).astype(np.int64)
    users = np.full(EVENTS, 7, np.uint64)
    return ScoreKeys(users, np.zeros(EVENTS, np.uint64), items, splits)


def _fill(table: ScoreTable, items: NDArray[np.uint64], now_ns: int) -> int:
    """Look up keys and store scores for those not held; the nanoseconds it took."""
    keys = _score_keys(items)
    scores = np.ones((1, len(items)), np.float32)
    asked = np.full(EVENTS, now_ns)
    started_ns = time.perf_counter_ns()
    found = table.look_up(keys, now_ns)
    table.fill(keys, asked, now_ns, found, scores)
    return time.perf_counter_ns() - started_ns


def _replay_figures(rounds: int, seconds: int, seed: int) -> list[Figure]:
    """What a cache does to traffic that repeats, on a virtual clock."""
    runs = [replay(seconds, np.random.default_rng((seed, number))) for number in range(rounds)]
    name = f"replay, {seconds} s of generated traffic: "
    return [
        make_figure(f"{name}hits a candidate", "share", [run.candidate_hits for run in runs]),
        make_figure(f"{name}requests of hits only", "share", [run.request_hits for run in runs]),
        make_figure(f"{name}rows saved", "share", [run.saved for run in runs]),
        make_figure(f"{name}oldest answer", "s", [run.oldest_s for run in runs], goal=Goal(120)),
        make_figure(f"{name}wrong answers", "rows", [run.wrong for run in runs], goal=Goal(0)),
        make_figure(f"{name}checked answers", "rows", [run.checked for run in runs]),
    ]


def _live_figures(rounds: int, requests: int, waves: int, seed: int) -> list[Figure]:
    """Requests through the engine, with and without a cache around the ranker."""
    cached, plain, wrong, hits = live_rates(rounds, requests, waves, seed)
    name = f"engine, ranker of {waves:,} cosines a candidate"
    gains = [one / other for one, other in zip(cached, plain, strict=True)]
    goal = GAIN if waves > CHEAP_WAVES else None
    return [
        make_figure(
            f"{name}: with a cache", "requests/CPU s", cached, anchor="without", anchor_rounds=plain
        ),
        make_figure(f"{name}: throughput gained", "times", gains, goal=goal),
        make_figure(f"{name}: hits a candidate", "share", hits),
        make_figure(f"{name}: wrong answers", "rows", wrong, goal=Goal(0)),
    ]
