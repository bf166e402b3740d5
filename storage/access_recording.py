"""Look-ups of a store that is being served, recorded: for `sedp store advise`, and to move RAM by.

A log a table; if it is saved, in `<store>/access/<table>.npz`, which is replaced every minute and
on closing. Each recording begins anew; so one process a store should save.

Look-ups run in several threads. They wait for each other's few microseconds, yet not for the
milliseconds in which a log is copied to be saved: a batch that comes then is left out. Which one
that is has nothing to do with its keys, so the sample stays fair; how many it were is logged.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.advice.access_log import AccessLog, AccessSample, save_sample
from sedp.storage.rows.bags import Pooling
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.table import Table
from sedp.storage.ticker import Ticker
from sedp.storage.tier import Keys, Mask

FOLDER = "access"  # in the store's folder
SAVE_S = 60.0
PATIENCE_S = 0.001  # most that recording may hold up a look-up
_LEFT_OUT_TOLD = 0.01  # of the look-ups: from there on it is worth a warning

_log = logging.getLogger(__name__)

Size = Callable[[str], tuple[int, int]]


class _Recording:
    """One table's log, and what guards it."""

    def __init__(self, table: str, rows: int, row_bytes: int) -> None:
        self._table = table
        self._access_log = AccessLog(table, rows, row_bytes)
        self._lock = threading.Lock()
        self._left_out = 0
        self._saved = 0

    def record(self, keys: Keys) -> None:
        if not self._lock.acquire(timeout=PATIENCE_S):
            self._left_out += len(keys)  # threads may count over each other: it is but a hint
            return
        try:
            self._access_log.record(keys)
        finally:
            self._lock.release()

    def snapshot(self) -> AccessSample:
        with self._lock:
            return self._access_log.snapshot()

    def take(self) -> AccessSample | None:
        """What is held now; None if that is nothing new."""
        sample = self.snapshot()
        if sample.seen == self._saved:
            return None
        self._saved = sample.seen
        if self._left_out > _LEFT_OUT_TOLD * sample.seen:
            _log.warning(
                "access log of table %r: %d look-ups are left out, %d are in; advice from it may "
                "be off",
                self._table,
                self._left_out,
                sample.seen,
            )
        return sample


class AccessRecorder:
    """Safe for threads.

    Args:
        folder: where the logs go, `<table>.npz`; None if nowhere.
        size: of a table now: its rows, and bytes of one.
        save_s: seconds between two savings.
    """

    def __init__(self, folder: Path | None, size: Size, save_s: float = SAVE_S) -> None:
        self._folder = folder
        self._size = size
        self._lock = threading.Lock()
        self._recordings: dict[str, _Recording] = {}
        self._ticker = Ticker("sedp-access-log", lambda: save_s, self.save)

    def record(self, name: str, keys: Keys) -> None:
        """Note that a table of this name was asked for `keys`, uint64[n]."""
        recording = self._recordings.get(name)
        if recording is None:
            recording = self._begin(name)
        recording.record(keys)

    def _begin(self, name: str) -> _Recording:
        with self._lock:
            if name not in self._recordings:
                self._recordings[name] = _Recording(name, *self._size(name))
            return self._recordings[name]

    def save(self) -> None:
        """Write the logs of the tables that were asked for since the last time.

        Raises:
            StoreError: one cannot be written; the others may be.
        """
        if self._folder is None:
            return
        for name, recording in self._begun().items():
            sample = recording.take()
            if sample is not None:
                save_sample(self._sized(sample), self._folder / f"{name}.npz")

    def samples(self) -> list[AccessSample]:
        """Of all tables that were asked for since the start."""
        return [self._sized(recording.snapshot()) for recording in self._begun().values()]

    def _begun(self) -> dict[str, _Recording]:
        with self._lock:
            return dict(self._recordings)

    def _sized(self, sample: AccessSample) -> AccessSample:
        """A later version may have other rows."""
        rows, row_bytes = self._size(sample.table)
        return replace(sample, rows=rows, row_bytes=row_bytes)

    def close(self) -> None:
        """Save for the last time; a disk that fails costs the log, no more."""
        self._ticker.close()
        try:
            self.save()
        except StoreError as err:
            _log.warning("%s", err)


class RecordedTable:
    """A table whose look-ups are recorded; in all else the table itself."""

    def __init__(self, table: Table, recorder: AccessRecorder) -> None:
        self._table = table
        self._recorder = recorder

    @property
    def spec(self) -> TableSpec:
        """Of the version that answers now."""
        return self._table.spec

    def lookup(self, keys: Keys, out: NDArray[Any], missing: Mask) -> int:
        """See `Table.lookup`; what it refuses is not recorded."""
        count = self._table.lookup(keys, out, missing)
        self._recorder.record(self.spec.name, keys)
        return count

    def lookup_bags(
        self, keys: Keys, offsets: NDArray[np.int64], out: NDArray[np.float32], mode: Pooling
    ) -> int:
        """See `Table.lookup_bags`; what it refuses is not recorded."""
        count = self._table.lookup_bags(keys, offsets, out, mode)
        self._recorder.record(self.spec.name, keys)
        return count


class RecordedStore:
    """What stages see of a store whose look-ups are recorded.

    Args:
        path: of the store; None if nothing is to be saved.
        save_s: seconds between two savings.
    """

    def __init__(self, store: ParameterStore, path: Path | None, save_s: float = SAVE_S) -> None:
        self._store = store
        self._recorder = AccessRecorder(path and path / FOLDER, self._size, save_s)

    def _size(self, name: str) -> tuple[int, int]:
        table = self._store.table(name).statistics()
        return table.rows, table.spec.row_bytes

    @property
    def publications(self) -> int:
        """See `ParameterStore.publications`."""
        return self._store.publications

    def table(self, name: str, version: int | None = None) -> RecordedTable:
        """See `ParameterStore.table`."""
        return RecordedTable(self._store.table(name, version), self._recorder)

    def samples(self) -> list[AccessSample]:
        """What was recorded lately, of each table that was asked for."""
        return self._recorder.samples()

    def close(self) -> None:
        """Save what was recorded, before the store itself is closed."""
        self._recorder.close()
