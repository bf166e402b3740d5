"""A batch is read in parts: all of it, in order, on as many threads as pay."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.storage.rocksdb.reads import COLD_KEYS_MIN, THREADS_MAX, WARM_KEYS_MIN, ReadPool, slices


@pytest.fixture
def pool() -> Iterator[ReadPool]:
    opened = ReadPool()
    opened._cores = 4
    yield opened
    opened.close()


@given(count=st.integers(0, 5000), parts=st.integers(0, 40))
def test_slices_cover_everything_evenly(count: int, parts: int) -> None:
    cut = slices(count, parts)
    assert len(cut) == max(1, parts)
    assert [at for part in cut for at in range(part.start, part.stop)] == list(range(count))
    lengths = [part.stop - part.start for part in cut]
    assert max(lengths) - min(lengths) <= 1


def test_answers_come_in_order(pool: ReadPool) -> None:
    pool._is_cold = True
    answers = pool.map(lambda part: list(range(part.start, part.stop)), 1000)
    assert len(answers) == THREADS_MAX
    assert [at for answer in answers for at in answer] == list(range(1000))


def test_warm_batches_use_no_more_threads_than_cores_and_none_for_a_small_one(
    pool: ReadPool,
) -> None:
    caller = threading.get_ident()
    for count, parts in ((0, 1), (2 * WARM_KEYS_MIN - 1, 1), (2 * WARM_KEYS_MIN, 2), (10**6, 4)):
        threads = pool.map(lambda _: threading.get_ident(), count)
        assert len(threads) == parts
        assert threads[0] == caller
        assert caller not in threads[1:]


def test_reads_from_disk_make_the_next_batch_wide_until_there_are_none(
    pool: ReadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = 0

    def usage(_: int) -> SimpleNamespace:
        return SimpleNamespace(ru_inblock=blocks)

    def parts(more: int) -> int:
        def read(_: slice) -> None:
            nonlocal blocks
            blocks += more

        return len(pool.map(read, 10 * COLD_KEYS_MIN))

    monkeypatch.setattr(resource, "getrusage", usage)
    assert [parts(more) for more in (0, 8 * 6, 8 * 6, 0, 0)] == [1, 1, 10, 10, 1]


def test_error_of_a_part_comes_out_when_all_have_ended(pool: ReadPool) -> None:
    pool._is_cold = True
    running = threading.Semaphore(0)

    def read(part: slice) -> None:
        if part.start == 0:
            raise ValueError("first")
        running.release()

    with pytest.raises(ValueError, match="first"):
        pool.map(read, 1000)
    for _ in range(THREADS_MAX - 1):
        assert running.acquire(blocking=False)
