"""The store reads no wall clock: jumps of it by years change nothing.

What waits, waits by the monotonic clock, inside the standard library; the lint contract keeps
`time` out of the store's own modules.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from pathlib import Path

import pytest

from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.store import ParameterStore
from sedp.storage.updates import updates
from tests.storage.reading import check_rows, fill, reading, update

YEAR_S = 365 * 86_400
OWN_PACKAGE = "sedp.storage"


class JumpingClock:
    """A wall clock that is a year ahead or behind at every look; it notes who looks."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.readers = set[str]()
        self._now_s, self._jumps = time.time(), itertools.cycle((YEAR_S, -2 * YEAR_S, YEAR_S))
        patch.setattr(time, "time", self._read_s)
        patch.setattr(time, "time_ns", lambda: int(self._read_s() * 1e9))

    def _read_s(self) -> float:
        frame = sys._getframe(1)
        self.readers.add(frame.f_globals["__name__"])
        self._now_s += next(self._jumps)
        return self._now_s


@pytest.mark.slow
def test_wall_clock_that_jumps_is_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, flush = threading.Event(), RocksDatabase.flush_wal

    def note(database: RocksDatabase) -> None:
        flush(database)
        flushed.set()

    monkeypatch.setattr(updates, "FLUSH_S", 0.01)
    monkeypatch.setattr(RocksDatabase, "flush_wal", note)
    clock = JumpingClock(monkeypatch)
    with ParameterStore.open(tmp_path, ram_bytes=20_000, create=True) as store:
        fill(store)
        with reading(tmp_path, 20_000) as reader:
            for version in range(2, 6):
                flushed.clear()
                update(store, 50, version)
                assert flushed.wait(10), "what is async was not brought to disk"
                check_rows(store.table("user"), 50, version)
                assert reader.sees(50, version)
        fill(store, 6)
        assert store.roll_back("user").version == 1
        assert store.verify().is_sound
    with ParameterStore.open(tmp_path) as store:
        check_rows(store.table("user"), 50, 5)
    assert not [name for name in clock.readers if name.startswith(OWN_PACKAGE)]
