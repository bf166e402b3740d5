"""Look-ups take no lock, and still never see half a row, another key's row, or a row too few.

Every row tells its key and the round it was written in, all over its length; sets are few and rows
long, so that look-ups meet writers all the time, also in the middle of a copy.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.storage.ram.tier import CACHE_REACH, RESIDENT_REACH, RamTier
from tests.storage.tables import Keys, ask
from tests.storage.threads import THREADS

WORDS = 1024
READERS = THREADS - 1
KEYS = np.arange(40, dtype=np.uint64)
LOOKUPS = 1000


def rows_of(keys: Keys, written: int) -> NDArray[np.uint8]:
    """uint8[n, 8192]: word j of a row is a number of its key, the round and j."""
    first = keys * np.uint64(1 << 32) + np.uint64(written)
    return (first[:, np.newaxis] + np.arange(WORDS, dtype=np.uint64)).view(np.uint8)


def rounds_of(keys: Keys, rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """When each row was written; fails if a row is not in one piece, or another key's."""
    words = rows.view(np.uint64)
    written = words[:, 0] - keys * np.uint64(1 << 32)
    assert (written < 1 << 32).all(), "row of another key"
    assert (words == words[:, :1] + np.arange(WORDS, dtype=np.uint64)).all(), "torn row"
    return written


def run_beside_writer(read: Callable[[int], None], write: Callable[[int], None]) -> None:
    """`write(round)` again and again while each reader does its look-ups."""
    is_done = threading.Event()

    def write_on() -> None:
        written = 1
        while not is_done.is_set():
            write(written)
            written += 1

    with ThreadPoolExecutor(THREADS) as pool:
        writer = pool.submit(write_on)
        readers = [pool.submit(read, seed) for seed in range(READERS)]
        try:
            for reader in readers:
                reader.result()
        finally:
            is_done.set()
        writer.result()


@pytest.mark.slow
def test_no_row_is_torn_while_rows_are_put_replaced_and_forgotten() -> None:
    tier, hits = RamTier("ram", 8 * WORDS, 3), Counter[int]()

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(LOOKUPS):
            keys = rng.choice(KEYS, 30)
            rows, missing = ask(tier, keys, 8 * WORDS)
            rounds_of(keys[~missing], rows[~missing])
            hits[seed] += np.count_nonzero(~missing)
            tier.put_many(keys[missing], rows_of(keys[missing], 0))

    def write(written: int) -> None:
        keys = np.random.default_rng(written).choice(KEYS, 10, replace=False)
        tier.replace_many(keys, rows_of(keys, written))
        if written % 8 == 0:
            tier.forget(keys[:2])

    run_beside_writer(read, write)
    assert min(hits.values()) > LOOKUPS
    statistics = tier.statistics()
    assert statistics.lookups == READERS * LOOKUPS * 30
    assert statistics.hits == sum(hits.values())
    assert statistics.rows == np.count_nonzero(~ask(tier, KEYS, 8 * WORDS)[1])


@pytest.mark.slow
def test_final_answers_lack_no_row_and_no_update_that_came_before() -> None:
    tier, finals, latest = RamTier("ram", 8 * WORDS, 12, RESIDENT_REACH), Counter[int](), [0]
    tier.put_many(KEYS, rows_of(KEYS, 0))
    assert tier.settle(len(KEYS))

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(LOOKUPS):
            keys, before = rng.choice(KEYS, 30), latest[0]
            rows, missing = np.empty((30, 8 * WORDS), np.uint8), np.empty(30, np.bool_)
            count, is_final = tier.answer(keys, rows, missing)
            assert (rounds_of(keys[~missing], rows[~missing]) >= before).all()
            assert count == 0 or not is_final
            finals[seed] += is_final

    def write(written: int) -> None:
        assert tier.replace_many(KEYS, rows_of(KEYS, written)) == len(KEYS)
        latest[0] = written

    run_beside_writer(read, write)
    assert tier.is_resident
    assert sum(finals.values()) > 0


@pytest.mark.slow
def test_arrays_may_be_replaced_under_a_look_up() -> None:
    tier = RamTier("ram", 8 * WORDS, 12, RESIDENT_REACH)

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(LOOKUPS):
            keys = rng.choice(KEYS, 30)
            rows, missing = np.empty((30, 8 * WORDS), np.uint8), np.empty(30, np.bool_)
            count, is_final = tier.answer(keys, rows, missing)
            rounds_of(keys[~missing], rows[~missing])
            assert count == 0 or not is_final

    def write(written: int) -> None:
        tier.resize(10 + written % 3, RESIDENT_REACH if written % 2 else CACHE_REACH)
        tier.put_many(KEYS, rows_of(KEYS, written))
        tier.settle(len(KEYS))

    run_beside_writer(read, write)
