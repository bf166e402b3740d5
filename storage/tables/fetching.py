"""How a look-up asks the truth for what RAM and LMDB lack, and what is learnt from the answer.

The table's miss policy says whether it waits. Keys known to have no row are not asked for. Rows
found enter RAM, and those wanted again and again are offered to the warm tier. Of many keys each is
asked for once, in ascending order, as RocksDB reads those faster; for a few, to sort takes longer
than to read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sedp.storage.lmdb.bucket_reading import Positions
from sedp.storage.ram.tier import RamTier
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.tables.miss_policy import MissPolicy
from sedp.storage.tier import Keys, Mask, Rows

FEW_KEYS = 128  # that are asked for as they come


class Fetcher:
    """Of one table version.

    Args:
        absent: keys known to have no row.
        promote: offers keys to the warm tier; told whether it has damaged rows of some of them.
        fill: fetches distinct keys behind the answer.
    """

    def __init__(
        self,
        truth: RocksdbTier,
        ram: RamTier,
        absent: RamTier,
        row_bytes: int,
        policy: MissPolicy,
        *,
        promote: Callable[[Keys, bool], None],
        fill: Callable[[Keys], None],
    ) -> None:
        self._truth = truth
        self._ram = ram
        self._absent = absent
        self._row_bytes = row_bytes
        self._policy = policy
        self._promote = promote
        self._fill = fill

    def _undecided(self, keys: Keys, wanted: Positions) -> Positions:
        """Those of the positions whose keys are not known to have no row."""
        asked = keys[wanted]
        is_undecided = np.empty(len(asked), dtype=np.bool_)
        self._absent.get_many(asked, np.empty((len(asked), 0), dtype=np.uint8), is_undecided)
        return wanted[is_undecided]

    def answer(
        self,
        keys: Keys,
        wanted: Positions,
        rows: Rows,
        missing: Mask,
        since: int,
        is_damaged: bool,
    ) -> int:
        """Write the rows of the keys at the positions `wanted`, and which of them have none.

        If they do not wait, none has: they stay missing.

        Args:
            keys: uint64[n].
            wanted: int64[m].
            rows: uint8[n, row_bytes]; of keys without one undefined.
            missing: bool[n].
            since: the moment before any tier was read.
            is_damaged: the warm tier has damaged rows of some of them, to be written anew.

        Returns:
            How many have none.

        Raises:
            CorruptionError: the truth is damaged.
        """
        undecided = self._undecided(keys, wanted) if self._policy.fills else wanted
        if not len(undecided):
            self._policy.all_hit()
            return len(wanted)
        if not self._policy.waits(len(keys), len(undecided)):
            if self._policy.fills:
                self._fill(np.unique(keys[undecided]))
            return len(wanted)
        asked = keys[wanted]
        if len(asked) <= FEW_KEYS:
            fetched, absent = self.fetch(asked, since, is_damaged)
        else:
            distinct, places = np.unique(asked, return_inverse=True)
            fetched, absent = self.fetch(distinct, since, is_damaged)
            fetched, absent = fetched[places], absent[places]
        rows[wanted] = fetched
        missing[wanted] = absent
        return int(np.count_nonzero(absent))

    def fetch(self, keys: Keys, since: int, is_damaged: bool = False) -> tuple[Rows, Mask]:
        """Rows of keys, and which of them have none."""
        rows = np.empty((len(keys), self._row_bytes), dtype=np.uint8)
        absent = np.empty(len(keys), dtype=np.bool_)
        if self._absent.get_many(keys, rows[:, :0], absent) == len(keys):
            self._truth.get_many(keys, rows, absent)
            self._learn(keys, rows, absent, since, is_damaged)
            return rows, absent
        pending = np.flatnonzero(absent)
        np.logical_not(absent, out=absent)
        if len(pending):
            asked = keys[pending]
            answer, unknown = rows[pending], absent[pending]
            self._truth.get_many(asked, answer, unknown)
            self._learn(asked, answer, unknown, since, is_damaged)
            rows[pending], absent[pending] = answer, unknown
        return rows, absent

    def _learn(self, keys: Keys, rows: Rows, unknown: Mask, since: int, is_damaged: bool) -> None:
        if unknown.any():
            self._absent.put_many(keys[unknown], rows[unknown, :0], since)
            held = ~unknown
            keys, rows = keys[held], rows[held]
        if len(keys):
            self._ram.put_many(keys, rows, since)
            self._promote(keys, is_damaged)
