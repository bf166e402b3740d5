"""A cache that gets another size keeps rows, and never an old one, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.storage.ram import carrying as ram_carrying
from sedp.storage.ram.history import fresh_odds
from sedp.storage.ram.kernels import CACHE_REACH, RESIDENT_REACH, put_rows
from sedp.storage.ram.line import VACATED, WAYS
from sedp.storage.ram.state import RamState, bytes_per_set
from sedp.storage.ram.tier import RamTier
from tests.storage.ram_twin import mixed
from tests.storage.tables import Keys, ask, some_keys
from tests.storage.threads import THREADS

ROW_BYTES = 16


def rows_of(keys: Keys, version: int) -> NDArray[np.uint8]:
    """uint8[n, 16]: the key and its version."""
    words = np.stack([keys, np.full(len(keys), version, np.uint64)], axis=1)
    return np.ascontiguousarray(words).view(np.uint8)


def versions_of(keys: Keys, rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    words = rows.view(np.uint64)
    assert (words[:, 0] == keys).all(), "row of another key"
    return words[:, 1]


def resize_beside(
    tier: RamTier, sets: int, step_sets: int, acts: Iterator[Callable[[], object]]
) -> None:
    """Resize, and do one more of `acts` after each step of it."""
    do_step = ram_carrying.Carrying.step

    def step(self: ram_carrying.Carrying) -> bool:
        is_done = do_step(self)
        if not is_done:
            tier._writing.release()  # the tier has it; the act would wait for ever
            try:
                next(acts, lambda: None)()
            finally:
                tier._writing.acquire()
        return is_done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ram_carrying, "STEP_SETS", step_sets)
        patch.setattr(ram_carrying.Carrying, "step", step)
        tier.resize(sets)


KEYS = st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True)
ACTS = st.lists(st.tuples(st.sampled_from(["put", "replace", "forget", "clear"]), KEYS))


@settings(max_examples=300, deadline=None)
@given(
    before=st.integers(1, 12),
    after=st.integers(1, 12),
    step_sets=st.integers(1, 4),
    first=ACTS,
    beside=ACTS,
)
def test_no_old_row_is_ever_found_after_a_resize(
    before: int,
    after: int,
    step_sets: int,
    first: list[tuple[str, list[int]]],
    beside: list[tuple[str, list[int]]],
) -> None:
    tier, truth, at = RamTier("ram", ROW_BYTES, before), dict.fromkeys(range(61), 0), 0

    def act(kind: str, chosen: list[int]) -> None:
        nonlocal at
        keys = np.array(chosen, dtype=np.uint64)
        if kind == "put":
            rows = np.concatenate(
                [rows_of(keys[i : i + 1], truth[k]) for i, k in enumerate(chosen)]
            )
            tier.put_many(keys, rows)
            return
        if kind == "clear":
            tier.clear()
            return
        at += 1
        truth.update(dict.fromkeys(chosen, at))
        if kind == "replace":
            tier.replace_many(keys, rows_of(keys, at))
        else:
            tier.forget(keys)

    for kind, chosen in first:
        act(kind, chosen)
    resize_beside(tier, after, step_sets, iter([lambda a=a: act(*a) for a in beside]))
    everything = np.arange(61, dtype=np.uint64)
    rows, missing = ask(tier, everything, ROW_BYTES)
    found = versions_of(everything[~missing], rows[~missing])
    assert (found == [truth[int(key)] for key in everything[~missing]]).all()
    assert tier.statistics().rows == np.count_nonzero(~missing)
    tier.forget(everything)
    assert ask(tier, everything, ROW_BYTES)[1].all()  # no second copy comes to light


def test_row_that_is_put_out_and_in_again_further_on_is_carried_once() -> None:
    """Its first place is copied already; of two copies one would never be told of changes."""
    key = np.array([next(k for k in range(100) if mixed(k) * 4 >> 64 == 0)], dtype=np.uint64)
    state = RamState.private(4, ROW_BYTES, CACHE_REACH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ram_carrying, "STEP_SETS", 1)
        carrying = ram_carrying.Carrying(state, 8, fresh_odds())
        put_rows(state.lines, state.rows, state.histories, fresh_odds(), 2, key, rows_of(key, 0))
        assert state.lines[0, 0] == key
        carrying.step()
        state.lines[0, 0], state.lines[1, 0] = VACATED, key[0]
        while not carrying.step():
            pass
    assert carrying.held == 1
    assert np.count_nonzero(carrying.state.lines[:, :WAYS] == key) == 1


@pytest.mark.parametrize("sets", [300, 1200])
def test_rows_kept_are_those_asked_for_most(sets: int) -> None:
    rng = np.random.default_rng(5)
    tier = RamTier("ram", ROW_BYTES, 600)
    cumulative = np.cumsum(1 / np.arange(1, 20_001))
    for _ in range(300):
        drawn = np.searchsorted(cumulative / cumulative[-1], rng.random(500)).astype(np.uint64)
        _, missing = ask(tier, drawn, ROW_BYTES)
        unknown = np.unique(drawn[missing])
        tier.put_many(unknown, rows_of(unknown, 0))
    held = tier.statistics().rows
    hottest = np.arange(1000, dtype=np.uint64)
    before = np.count_nonzero(~ask(tier, hottest, ROW_BYTES)[1])
    tier.resize(sets)
    after = np.count_nonzero(~ask(tier, hottest, ROW_BYTES)[1])
    assert tier.statistics().rows == min(held, sets * WAYS)
    assert after > 0.93 * before


def test_writers_and_readers_go_on_beside_resizes() -> None:
    """Rows of one version only, and none older than one whose change was confirmed."""
    tier, confirmed = RamTier("ram", ROW_BYTES, 3000), np.zeros(4000, dtype=np.uint64)
    begun, all_keys = confirmed.copy(), np.arange(4000, dtype=np.uint64)
    tier.put_many(all_keys, rows_of(all_keys, 0))

    def read(seed: int) -> int:
        rng, found = np.random.default_rng(seed), 0
        for _ in range(400):
            keys = rng.choice(all_keys, 200)
            least = confirmed[keys]
            since = tier.moment()
            rows, missing = ask(tier, keys, ROW_BYTES)
            assert (versions_of(keys[~missing], rows[~missing]) >= least[~missing]).all()
            found += np.count_nonzero(~missing)
            unknown = np.unique(keys[missing])
            stored = np.stack([unknown, begun[unknown]], axis=1).view(np.uint8)
            tier.put_many(unknown, stored, since)
        return found

    def change(rounds: int) -> None:
        rng = np.random.default_rng(0)
        for version in range(1, rounds):
            keys = np.unique(rng.choice(all_keys, 50))
            begun[keys] = version
            tier.replace_many(keys, rows_of(keys, version))
            confirmed[keys] = version

    with ThreadPoolExecutor(THREADS + 1) as pool:
        readers = [pool.submit(read, seed) for seed in range(THREADS - 1)]
        writer = pool.submit(change, 2000)
        resizes = 0
        while not (writer.done() and all(reader.done() for reader in readers)):
            tier.resize((3000, 2400, 1500)[resizes % 3])
            resizes += 1
        assert all(reader.result() for reader in readers)
        writer.result()
    assert resizes > 3


@pytest.mark.parametrize(
    ("sets", "reach", "rows"),
    [
        (20, CACHE_REACH, 10),
        (21, CACHE_REACH, 10),
        (19, CACHE_REACH, 10),
        (21, RESIDENT_REACH, 0),
        (0, CACHE_REACH, 0),
    ],
)
def test_resized_cache_keeps_counts_and_as_long_as_it_is_one_rows(
    sets: int, reach: int, rows: int
) -> None:
    tier, keys = RamTier("ram", 16, 20), some_keys(10)
    tier.put_many(keys, rows_of(keys, 1))
    tier.resize(sets, reach)
    got, missing = ask(tier, keys, 16)
    assert np.count_nonzero(~missing) == rows
    assert (got[~missing] == rows_of(keys, 1)[~missing]).all()
    statistics = tier.statistics()
    assert (statistics.lookups, statistics.hits, statistics.rows) == (10, rows, rows)
    assert statistics.bytes == sets * bytes_per_set(16, is_whole=reach == RESIDENT_REACH)


def test_whole_table_of_the_same_size_keeps_its_rows_and_of_another_starts_empty() -> None:
    tier, keys = RamTier("ram", 16, 20, RESIDENT_REACH), some_keys(10)
    tier.put_many(keys, rows_of(keys, 1))
    tier.resize(20, RESIDENT_REACH)
    assert not ask(tier, keys, 16)[1].any()
    tier.resize(21, RESIDENT_REACH)
    assert ask(tier, keys, 16)[1].all()
