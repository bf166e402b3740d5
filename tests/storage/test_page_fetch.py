"""Fetching ahead changes nothing but when the disk is asked."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from sedp.storage.lmdb import page_fetch
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.page_fetch import fetch_ranges, is_cold
from tests.storage.warm_tables import WarmTable, fill, look_up_warm


def test_a_batch_is_cold_from_one_page_in_64_keys_on() -> None:
    assert not is_cold(0, 2600)
    assert not is_cold(8 * 40, 2600)
    assert is_cold(8 * 41, 2600)
    assert is_cold(8, 26)
    assert not is_cold(0, 0)


@pytest.mark.parametrize("call", [440, 100_000])  # and one that the kernel has not
def test_pages_are_there_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    monkeypatch.setattr(page_fetch, "_PROCESS_MADVISE", call)
    pages = 3000
    (tmp_path / "file").write_bytes(np.arange(pages * 512).tobytes())
    with (tmp_path / "file").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    words = np.frombuffer(mapped, dtype=np.uint64)
    ranges = np.full((pages, 2), mmap.PAGESIZE, dtype=np.uint64)
    ranges[:, 0] = words.ctypes.data + np.arange(pages) * mmap.PAGESIZE
    fetch_ranges(ranges)
    fetch_ranges(ranges[:0])
    assert (words == np.arange(pages * 512)).all()


@pytest.mark.parametrize(
    "table",
    [
        WarmTable("narrow", 16, "hashed", 2000),
        WarmTable("wide", 700, "hashed", 200),
        WarmTable("dense", 40, "dense", 2000),
    ],
)
def test_cold_batches_fetch_what_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: WarmTable
) -> None:
    fetched = list[np.ndarray]()
    monkeypatch.setattr("sedp.storage.lmdb.tier.fetch_ranges", lambda got: fetched.append(+got))
    monkeypatch.setattr("sedp.storage.lmdb.tier.is_cold", lambda *_: True)
    database = LmdbDatabase(tmp_path, read_only=False)
    fill(database, table)
    tier = table.open(database)
    monkeypatch.setattr(table.__class__, "open", lambda *_: tier)
    epochs = np.zeros(table.rows, np.uint64)
    held = table.rows - look_up_warm(database, table, epochs)
    ranges = np.concatenate(fetched)
    assert (ranges % mmap.PAGESIZE == 0).all()
    with database.reading() as snapshot:
        assert snapshot is not None
        last = snapshot.base + snapshot.file_pages * mmap.PAGESIZE
        assert (ranges.sum(axis=1) <= last).all()
        assert (ranges[:, 0] >= snapshot.base).all()
    assert len(ranges) >= held
    monkeypatch.setattr("sedp.storage.lmdb.tier.is_cold", lambda *_: False)
    look_up_warm(database, table, epochs)
    fetched.clear()
    look_up_warm(database, table, epochs)
    assert not fetched  # the batch before found all in memory
    database.close()
