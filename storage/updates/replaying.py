"""Updates that are made to a version while it is copied are made in its copy, too.

An import onto the current version reads it for minutes, while it is served and updated. The keys
that are updated meanwhile are noted; what they are by then is copied behind the import, again and
again until little is left, and the rest while no update is committed. So the new version has the
rows of the old one, the delta over them, and over both the updates made since the import began.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.rows.bucket import places_of
from sedp.storage.rows.record import seal
from sedp.storage.tier import Keys

STEP_KEYS = 20_000  # copied at once; as few may be left for when updates wait
PASSES_MAX = 8  # over what has been updated during the pass before
_JOIN_PARTS = 256  # of keys noted, then repeats are left out


class Journal:
    """Keys of one version that were updated; it holds each once, or little more. Thread-safe.

    Args:
        name: of the version's entry.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._parts: list[Keys] = []

    def note(self, name: str, keys: Keys) -> None:
        """Keys, uint64[n], of some version were updated."""
        if name != self._name:
            return
        with self._lock:
            self._parts.append(keys)
            if len(self._parts) >= _JOIN_PARTS:
                self._parts = [np.unique(np.concatenate(self._parts))]

    def take(self) -> Keys:
        """Distinct keys noted since the last time, ascending."""
        with self._lock:
            parts, self._parts = self._parts, []
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Replay:
    """Copies rows of `source` into the version of `entry`, which nobody reads yet.

    Args:
        journal: of the version of `source`.
    """

    truth: RocksDatabase
    warm: LmdbDatabase
    source: RocksdbTier
    entry: Entry
    journal: Journal

    def catch_up(self) -> None:
        """Copy until what is left takes little time; updates go on.

        Raises:
            StoreError: the disk failed.
        """
        for _ in range(PASSES_MAX):
            keys = self.journal.take()
            self._copy(keys)
            if len(keys) <= STEP_KEYS:
                return

    def finish(self) -> None:
        """Copy what is left; no update is committed meanwhile. Raises as `catch_up`."""
        self._copy(self.journal.take())

    def _copy(self, keys: Keys) -> None:
        for start in range(0, len(keys), STEP_KEYS):
            part = keys[start : start + STEP_KEYS]
            rows = np.empty((len(part), self.entry.spec.row_bytes), np.uint8)
            missing = np.empty(len(part), np.bool_)
            self.source.get_many(part, rows, missing)
            held = part[~missing]
            records = seal(held, rows[~missing], 0, self.entry.seed)
            places = places_of(held, self.entry.spec.layout)
            self.truth.write_rows([(self.entry.name, places, records)], sync=False)
            version = self.warm.versions().get(self.entry.name)
            if version is not None:
                tier = LmdbTier(self.warm, self.entry, version.shape)
                with self.warm.updating() as writer:
                    tier.merge(writer, held, records, None)
