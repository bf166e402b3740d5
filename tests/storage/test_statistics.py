"""Statistics are taken on an event loop: they wait for nothing, whatever the tiers are at."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.storage.lmdb.environment import Environment
from sedp.storage.store import ParameterStore
from sedp.storage.tables.statistics import StoreStatistics, TableStatistics
from tests.storage.tables import look_up
from tests.storage.updated import KEYS, NEW, fill, rows_of


def tier_of(table: TableStatistics, name: str) -> Any:
    return next(tier for tier in table.tiers if tier.tier == name)


def in_time(ask: Callable[[], StoreStatistics]) -> StoreStatistics:
    """What it returns, asked in a thread of its own that may not hang."""
    answers: list[StoreStatistics] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    thread.join(10)
    assert answers, "it waits"
    return answers[0]


def test_they_ask_neither_lmdb_nor_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        before = tier_of(store.statistics().tables[0], "lmdb")
        assert (before.rows, before.bytes > 0) == (len(KEYS), True)
        store.update("user", NEW, rows_of(NEW, 2))
        look_up(store.table("user"), KEYS)
        with monkeypatch.context() as patched:
            for name in ("using", "begin", "_count_pages"):
                patched.setattr(Environment, name, None)
            lmdb = tier_of(store.statistics().tables[0], "lmdb")
    assert (lmdb.rows, lmdb.bytes) == (len(KEYS) + len(NEW), before.bytes)


def test_they_do_not_wait_while_rocksdb_is_opened_anew(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store)
        before = tier_of(store.statistics().tables[0], "rocksdb")
        assert before.bytes > 0
        with store._parts.truth._handles._alone():
            assert tier_of(in_time(store.statistics).tables[0], "rocksdb") == before
        look_up(store.table("user"), np.array([1], np.uint64))
        assert tier_of(store.statistics().tables[0], "rocksdb").lookups == before.lookups + 1
