"""The RAM tier keeps what experience says will be asked for again, and the kernels do as told."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.storage.ram.history import (
    CLASSES,
    HISTORY_WORDS,
    TRIALS,
    TRIALS_MAX,
    WINS,
    WORTH,
    fresh_odds,
    prior_worth,
    revise,
)
from sedp.storage.ram.kernels import forget_rows, get_rows, put_rows
from sedp.storage.ram.line import EMPTY, WAYS
from sedp.storage.ram.tier import CACHE_REACH, RESIDENT_REACH, RamTier
from tests.storage.ram_twin import Twin
from tests.storage.tables import Keys, ask, some_keys

batches = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "forget"]), st.lists(st.integers(0, 90), max_size=60)
)


def aligned_lines(sets: int) -> Keys:
    memory = np.zeros(sets * 8 + 8, np.uint64)
    skip = -memory.ctypes.data % 64 // 8
    lines = memory[skip : skip + sets * 8].reshape(sets, 8)
    lines[:, :WAYS] = EMPTY
    return lines


@settings(max_examples=80)
@given(st.integers(1, 6), st.lists(batches, max_size=14), st.integers(0, 9))
def test_kernels_equal_their_twin(sets: int, steps: list[tuple[str, list[int]]], seed: int) -> None:
    lines, rows = aligned_lines(sets), np.zeros((sets * WAYS, 8), np.uint8)
    histories, odds = np.zeros((sets, HISTORY_WORDS), np.uint16), fresh_odds()
    odds[WORTH] = np.random.default_rng(seed).random(CLASSES)
    twin, held = Twin(sets, odds[WORTH].tolist()), 0
    for what, numbers in steps:
        keys = np.array(numbers, np.uint64)
        if what == "forget":
            held -= forget_rows(lines, histories, CACHE_REACH, keys)
            for key in numbers:
                twin.forget(key)
            continue
        out, missing = np.zeros((len(keys), 8), np.uint8), np.zeros(len(keys), np.bool_)
        counts = get_rows(lines, rows, CACHE_REACH, keys, out, missing)
        assert missing.tolist() == [not twin.get(key) for key in numbers]
        assert counts == (np.count_nonzero(missing), 0)
        assert (out.view(np.uint64)[~missing, 0] == keys[~missing]).all()
        new_rows = keys[:, np.newaxis].view(np.uint8)
        held += put_rows(lines, rows, histories, odds, CACHE_REACH, keys, new_rows)
        for key in numbers:
            twin.put(key)
        assert held == twin.held()
    for row, counts in ((TRIALS, twin.trials), (WINS, twin.wins)):
        assert odds[row].tolist() == [counts[number] for number in range(CLASSES)]


def test_worth_is_wins_over_trials_and_trials_fade() -> None:
    rng, odds = np.random.default_rng(1), fresh_odds()
    odds[TRIALS] = rng.integers(0, 2 * TRIALS_MAX / CLASSES, CLASSES) + 256
    odds[WINS] = odds[TRIALS] * rng.random(CLASSES, np.float32)
    before, prior = odds.copy(), np.array([prior_worth(number) for number in range(CLASSES)])
    revise(odds)
    wanted = (before[WINS] + 10 * prior) / (before[TRIALS] + 10)
    np.testing.assert_allclose(odds[WORTH], wanted, rtol=1e-5)
    np.testing.assert_array_equal(odds[TRIALS:], before[TRIALS:] / 2)


def test_few_trials_change_no_worth() -> None:
    odds = fresh_odds()
    odds[TRIALS] = TRIALS_MAX / CLASSES / 2
    before = odds.copy()
    revise(odds)
    np.testing.assert_array_equal(odds, before)


def serve(tier: RamTier, keys: Keys) -> int:
    """As a cascade does: what is missing is fetched once and offered; how many that were."""
    _, missing = ask(tier, keys, 0)
    unknown = np.unique(keys[missing])
    tier.put_many(unknown, np.empty((len(unknown), 0), np.uint8))
    return len(unknown)


def test_rows_in_use_outlive_a_scan_of_others() -> None:
    hot, cold = some_keys(200, seed=1), some_keys(20_000, seed=2)
    tier = RamTier("ram", 0, 100)
    for part in np.array_split(cold, 100):
        serve(tier, hot)
        serve(tier, part)
    assert np.count_nonzero(ask(tier, hot, 0)[1]) < 5


def test_rows_no_longer_in_use_make_room_for_those_that_are() -> None:
    old, new, cold = some_keys(300, seed=1), some_keys(300, seed=2), some_keys(20_000, seed=3)
    tier = RamTier("ram", 0, 50)
    for part in np.array_split(cold, 100):
        serve(tier, old)
        serve(tier, part)
    for part in np.array_split(cold, 100)[:20]:
        serve(tier, new)
        serve(tier, part)
    assert np.count_nonzero(ask(tier, new, 0)[1]) < 20


def test_rows_asked_for_in_turn_do_not_push_each_other_out() -> None:
    """Twice as many as there are places: least recently used first would hit none."""
    keys, tier = some_keys(14_000), RamTier("ram", 0, 1000)
    parts = np.array_split(keys, 100)
    for _ in range(20):
        fetched = sum(serve(tier, part) for part in parts)
    assert fetched < 0.6 * len(keys)


def offer(tier: RamTier, first: int, count: int) -> None:
    keys = np.arange(first, first + count, dtype=np.uint64)
    tier.put_many(keys, np.empty((count, 0), np.uint8))


def test_age_tells_how_long_ago_the_rows_held_were_asked_for() -> None:
    tier, places = RamTier("ram", 0, 1000), 1000 * WAYS
    assert tier.statistics().age == 0
    offer(tier, 0, 10 * places)  # a queue in effect, as nothing is asked for twice
    assert 0.3 * places <= tier.statistics().age <= 0.7 * places
    held = np.arange(10 * places, dtype=np.uint64)
    missing = np.empty(len(held), np.bool_)
    tier.get_many(held, np.empty((len(held), 0), np.uint8), missing)
    held = held[~missing]
    for turn in range(40):  # these stay, until nobody wants them
        if turn < 20:
            tier.get_many(held, np.empty((len(held), 0), np.uint8), missing[: len(held)])
        if turn == 20:
            assert tier.statistics().age <= 1000
        offer(tier, 10**6 + turn * 1000, 1000)
    assert tier.statistics().age > 1000


def test_resident_rows_have_no_age() -> None:
    tier = RamTier("ram", 0, 1000, RESIDENT_REACH)
    offer(tier, 0, 3000)
    assert tier.statistics().age == 0
