"""The memory that shared rows are in: it is bounded, and what cannot be had does no harm."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.ram import shared_ram
from sedp.storage.ram.kernels import RESIDENT_REACH
from sedp.storage.ram.mapping import HUGE_BYTES, bring_in, map_file
from sedp.storage.ram.shared_ram import Region, SharedRam
from tests.storage.shared_memory import SEED, answer, following, memory, owning
from tests.storage.test_shared_ram import POOL, ROW_BYTES, blocks, filled, rows_with
from tests.storage.threads import THREADS, run_in_threads


def test_pages_that_readers_bring_back_are_given_back_again() -> None:
    """Over many versions, each of which a reader looks at when it is dropped already."""
    with memory() as fd:
        owner = SharedRam.own(fd, 1)
        shared = SharedRam.follow(fd, 1)
        assert shared is not None
        for _ in range(100):
            tier = filled(owner, 40_000)
            reader = following(shared, ROW_BYTES, 20)
            region = reader._state.region
            assert region is not None
            tier.resize(0)
            bring_in(region.memory)  # as one that attaches just then, or whose batch goes on
            assert blocks(fd) > 40_000 * 64
        tier = filled(owner, 4)
        owner.tell_epoch(1)
        assert blocks(fd) <= 3 * HUGE_BYTES
        assert answer(following(shared, ROW_BYTES, 20), POOL[:20], ROW_BYTES)[2]


def test_regions_made_at_once_are_apart() -> None:
    with memory() as fd:
        owner = SharedRam.own(fd, 1)
        regions: list[Region | None] = []

        def make(seed: int) -> None:
            regions.extend(owner.make(100 * seed + at, 1, 4, 1) for at in range(1, 40))

        run_in_threads(make)
        assert len({region.slot for region in regions if region is not None}) == THREADS * 39
        starts = owner._words[:].reshape(-1, 8)[1 : THREADS * 39 + 1, 2]
        assert len(set(starts.tolist())) == THREADS * 39


def test_memory_that_is_not_to_be_had_leaves_the_rows_below(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(fd: int, size: int) -> None:
        raise OSError(27, "File too large")

    with memory() as fd:
        owner = SharedRam.own(fd, 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", refuse)
            assert owner.make(SEED, 4, ROW_BYTES, RESIDENT_REACH) is None
        assert "no shared RAM for them: [Errno 27] File too large" in caplog.text
        assert filled(owner).is_resident


def test_failed_mappings_keep_no_addresses() -> None:
    before = len(Path("/proc/self/maps").read_text().splitlines())
    with memory() as fd:
        os.ftruncate(fd, HUGE_BYTES)
        for _ in range(200):
            with pytest.raises(StoreError, match="cannot be mapped"):
                map_file(fd, 4096 - 1, HUGE_BYTES, is_writable=False)
    assert len(Path("/proc/self/maps").read_text().splitlines()) < before + 100


def test_updates_do_not_wait_for_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with memory() as fd:
        tier = owning(SharedRam.own(fd, 1), ROW_BYTES, 20)
        tier.put_many(POOL[:20], rows_with(POOL[:20], 1))

        changed = rows_with(POOL[:1], 2)

        def update(memory: object) -> None:
            thread = threading.Thread(target=tier.replace_many, args=(POOL[:1], changed))
            thread.start()
            thread.join(10)
            assert not thread.is_alive()

        monkeypatch.setattr(shared_ram, "make_huge", update)
        assert tier.settle(20)


def test_huge_pages_are_asked_for_before_rows_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []
    with memory() as fd:
        shared = SharedRam.own(fd, 1)

        def note(part: NDArray[np.uint8]) -> None:
            taken.append((part.nbytes, blocks(fd)))
            assert not part.any()  # which brings pages in

        monkeypatch.setattr(shared_ram, "make_huge", note)
        owning(shared, ROW_BYTES, 40_000)
    (size, held), *_ = taken
    assert size > 3 * HUGE_BYTES
    assert held < size // 10  # a small page for each huge one, and the directory
