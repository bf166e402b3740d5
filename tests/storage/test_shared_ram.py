"""Rows that one process keeps in RAM for others: they get them whole, and as they are now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.errors import StoreError
from sedp.storage.ram.budget import NOTHING, Share
from sedp.storage.ram.kernels import RESIDENT_REACH
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.mapping import map_file
from sedp.storage.ram.shared_ram import SLOTS_MAX, SharedRam
from sedp.storage.ram.tier import RamTier
from tests.storage.processes import ROOT
from tests.storage.shared_memory import SEED, answer, following, memory, owning
from tests.storage.tables import Keys, ask, keys_of, some_keys
from tests.storage.test_ram_threads import (
    KEYS,
    LOOKUPS,
    WORDS,
    rounds_of,
    rows_of,
    run_beside_writer,
)

ROW_BYTES = 16
POOL = some_keys(120)
changes = st.lists(
    st.tuples(st.lists(st.integers(0, 119), min_size=1, max_size=20), st.integers(0, 255)),
    max_size=12,
)


def rows_with(keys: Keys, number: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.full((len(keys), ROW_BYTES), number, np.uint8) ^ keys.astype(np.uint8)[:, np.newaxis]


@settings(deadline=None)
@given(changes)
def test_shared_rows_are_as_private_ones_after_any_updates(
    history: list[tuple[list[int], int]],
) -> None:
    held = POOL[:80]
    with memory() as fd:
        shared = SharedRam.own(fd, 1)
        owner, private = owning(shared, ROW_BYTES, 20), RamTier("r", ROW_BYTES, 20, RESIDENT_REACH)
        for tier in (owner, private):
            tier.put_many(held, rows_with(held, 0))
            assert tier.settle(len(held))
        other = SharedRam.follow(fd, 1)
        assert other is not None
        reader = following(other, ROW_BYTES, len(held))
        for at, number in history:
            keys = POOL[np.unique(at)]
            assert [tier.replace_many(keys, rows_with(keys, number)) for tier in (owner, private)]
            rows, missing, is_final = answer(reader, POOL, ROW_BYTES)
            expected, absent = ask(private, POOL, ROW_BYTES)
            assert is_final
            assert (missing == absent).all()
            assert (rows[~missing] == expected[~absent]).all()


def filled(shared: SharedRam, sets: int = 4) -> RamTier:
    tier = owning(shared, ROW_BYTES, sets)
    tier.put_many(POOL[:20], rows_with(POOL[:20], 1))
    assert tier.settle(20)
    return tier


def test_region_is_found_only_while_it_has_all_rows() -> None:
    with memory() as fd:
        assert SharedRam.follow(fd, 2) is None
        owner = SharedRam.own(fd, 2)
        reader = SharedRam.follow(fd, 2)
        assert reader is not None
        tier = owning(owner, ROW_BYTES, 4)
        assert reader.find(SEED) is None
        tier.put_many(POOL[:20], rows_with(POOL[:20], 1))
        assert not tier.settle(21)
        assert reader.find(SEED) is None
        assert tier.settle(20)
        assert reader.find(SEED) is not None
        assert reader.find(SEED - 1) is None
        tier.forget(POOL[:1])
        assert reader.find(SEED) is None


@pytest.mark.parametrize("end", ["resize", "clear", "forget", "outgrow"])
def test_nothing_of_a_region_counts_once_it_lacks_rows(end: str) -> None:
    """Key 0 is in the memory that was given back, as it is all zeros."""
    keys = keys_of(0, *POOL[:20].tolist())
    with memory() as fd:
        owner = SharedRam.own(fd, 1)
        tier = filled(owner)
        shared = SharedRam.follow(fd, 1)
        assert shared is not None
        reader = following(shared, ROW_BYTES, 20)
        assert answer(reader, keys, ROW_BYTES)[2]
        match end:
            case "resize":
                tier.resize(0)
            case "clear":
                tier.clear()
            case "forget":
                tier.forget(POOL[:1])
            case "outgrow":
                tier.replace_many(POOL, rows_with(POOL, 2))
        _, missing, is_final = answer(reader, keys, ROW_BYTES)
        assert missing.all()
        assert not is_final


def test_rows_being_written_are_no_answer_and_no_other_process_can_write() -> None:
    with memory() as fd:
        owner = SharedRam.own(fd, 1)
        tier = filled(owner)
        shared = SharedRam.follow(fd, 1)
        assert shared is not None
        reader = following(shared, ROW_BYTES, 20)
        tier._state.lines[:, WAYS] += np.uint64(1 << 8)  # as killed in the midst of it
        _, missing, is_final = answer(reader, POOL[:20], ROW_BYTES)
        assert missing.all()
        assert not is_final
        with pytest.raises(ValueError, match="read-only"):
            reader._state.rows[0] = 1
        assert reader.replace_many(POOL[:3], rows_with(POOL[:3], 9)) == 3  # left to the owner
        reader.clear()
        assert not reader.is_followed
        assert tier.is_resident


def test_memory_goes_back_to_the_system_when_a_region_is_dropped() -> None:
    with memory() as fd:
        shared = SharedRam.own(fd, 1)
        tier = owning(shared, ROW_BYTES, 200_000)
        assert blocks(fd) > 200_000 * 64
        tier.resize(0)
        assert blocks(fd) < 1 << 20


def blocks(fd: int) -> int:
    """Bytes that the file takes."""
    return 512 * os.fstat(fd).st_blocks


def test_tables_beyond_the_directory_are_not_shared() -> None:
    with memory() as fd:
        shared = SharedRam.own(fd, 1)
        regions = [shared.make(seed, 1, 4, 1) for seed in range(1, SLOTS_MAX + 1)]
        assert all(regions)
        assert shared.make(5000, 1, 4, 1) is None
        assert regions[0] is not None
        regions[0].drop()
        again = shared.make(5000, 1, 4, 1)
        assert again is not None
        again.show()
        assert not regions[0].is_shown
        assert shared.find(5000) is not None
        assert shared.find(1) is None


def test_whole_tables_are_held_once_and_caches_by_each_reader() -> None:
    whole, cache = Share(70, 0, is_whole=True), Share(70, 9)
    with memory() as fd:
        owner, reader = SharedRam.own(fd, 2), SharedRam.follow(fd, 2)
        assert reader is not None
        assert [end.share_of(whole) for end in (owner, reader)] == [whole, whole]
        assert [end.share_of(cache) for end in (owner, reader)] == [NOTHING, Share(35, 4)]


def test_memory_that_cannot_be_mapped_is_an_error_with_a_reason() -> None:
    with memory() as fd, pytest.raises(StoreError, match="cannot be mapped"):
        map_file(fd, 0, 1 << 60, is_writable=False)


@pytest.mark.slow
def test_shared_rows_are_never_torn_nor_older_than_before() -> None:
    with memory() as fd:
        owner = SharedRam.own(fd, 1)
        tier, latest, finals = owning(owner, 8 * WORDS, 12), [0], [0]
        tier.put_many(KEYS, rows_of(KEYS, 0))
        assert tier.settle(len(KEYS))
        shared = SharedRam.follow(fd, 1)
        assert shared is not None
        reader = following(shared, 8 * WORDS, len(KEYS))

        def read(seed: int) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(LOOKUPS):
                keys, before = rng.choice(KEYS, 30), latest[0]
                rows, missing, is_final = answer(reader, keys, 8 * WORDS)
                assert (rounds_of(keys[~missing], rows[~missing]) >= before).all()
                assert is_final != missing.any()
                finals[0] += is_final

        def write(written: int) -> None:
            tier.replace_many(KEYS, rows_of(KEYS, written))
            latest[0] = written

        run_beside_writer(read, write)
        assert finals[0] > 0


OWNER = """
import sys
from sedp.storage.ram.shared_ram import SharedRam
from tests.storage.shared_memory import owning
from tests.storage.test_ram_threads import KEYS, WORDS, rows_of
tier = owning(SharedRam.own(int(sys.argv[1]), 1), 8 * WORDS, 12)
tier.put_many(KEYS, rows_of(KEYS, 0))
assert tier.settle(len(KEYS))
print("shown", flush=True)
written = 1
while True:
    tier.replace_many(KEYS, rows_of(KEYS, written))
    written += 1
"""


@pytest.mark.slow
def test_killed_owner_leaves_no_torn_row() -> None:
    for kills in range(3):
        with memory() as fd:
            command = [sys.executable, "-c", OWNER, str(fd)]
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, text=True, pass_fds=[fd]
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "shown\n"
                shared = SharedRam.follow(fd, 1)
                assert shared is not None
                reader = following(shared, 8 * WORDS, len(KEYS))
                for _ in range(30 + kills):
                    rows, missing, _ = answer(reader, KEYS, 8 * WORDS)
                    rounds_of(KEYS[~missing], rows[~missing])
                process.send_signal(signal.SIGKILL)
            one_by_one = [answer(reader, KEYS[at : at + 1], 8 * WORDS) for at in range(len(KEYS))]
            for at, (rows, missing, is_final) in enumerate(one_by_one):
                assert is_final != missing[0]
                rounds_of(KEYS[at : at + 1][~missing], rows[~missing])
