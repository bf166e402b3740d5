"""What LMDB lacks while it cannot commit, as on a full disk, and how readers are told so.

The keys of rows that are in RocksDB alone are remembered, up to a limit a version: each of them is
tried again with each update. Of a version with more all keys count as lacking. It is taken out of
LMDB as soon as LMDB can commit, and made anew.

Readers look for a mark beside LMDB's file. To remove a file takes no room on the disk, so it is the
mark's absence that tells them to ask RocksDB.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sedp.errors import StoreError
from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.update_log import ALL_KEYS
from sedp.storage.tier import Keys, Rows

LAG_KEYS_MAX = 1 << 14  # of a version; to try them again takes about 0.1 s an update
_MARK = "complete"

_log = logging.getLogger(__name__)

Change = tuple[Entry, Keys, Rows]  # rows of one version, sealed


class Lag:
    """Keys that LMDB lacks, by version: uint64[n], or `ALL_KEYS`."""

    def __init__(self) -> None:
        self.keys: dict[Entry, Keys] = {}

    def joined(self, changes: Iterable[Change]) -> dict[Entry, Keys]:
        """What LMDB would lack without these changes too."""
        joined = dict(self.keys)
        for entry, keys, _ in changes:
            before = joined.get(entry, keys)
            joined[entry] = ALL_KEYS if before is ALL_KEYS else np.union1d(before, keys)
        return joined

    def add(self, changes: Iterable[Change]) -> None:
        """LMDB lacks these changes."""
        self.keys = {
            entry: keys if len(keys) <= LAG_KEYS_MAX else ALL_KEYS
            for entry, keys in self.joined(changes).items()
        }

    def lost(self) -> set[Entry]:
        """Versions of which LMDB lacks more than is remembered."""
        return {entry for entry, keys in self.keys.items() if keys is ALL_KEYS}


class CompleteMark:
    """There as long as LMDB, in `folder`, has all that was acknowledged, and told of versions."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _MARK

    @property
    def is_there(self) -> bool:
        """LMDB may be trusted; asked before LMDB is."""
        return os.path.exists(self._file)  # asked often, and twice as fast as the path's own

    def put(self) -> None:
        """LMDB has everything. Where that cannot be told readers go on asking RocksDB."""
        try:
            self._file.touch()
        except OSError as err:
            _log.warning("readers go on asking RocksDB, as %s cannot be made: %s", self._file, err)

    def remove(self) -> None:
        """LMDB lacks something.

        Raises:
            StoreError: readers will not know.
        """
        try:
            self._file.unlink(missing_ok=True)
        except OSError as err:
            raise StoreError(
                f"{self._file} cannot be removed: {err}; readers may get rows from before the last "
                "updates; see to the disk, then close the store and open it again"
            ) from err
