"""Brings all rows of a table version into RAM, from the tiers below."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.placement.mover import Mover
from sedp.storage.ram.tier import RamTier
from sedp.storage.rocksdb.tier import RocksdbTier

_log = logging.getLogger(__name__)


def load_rows(
    ram: RamTier,
    tiers: Sequence[LmdbTier | RocksdbTier],
    entry: Entry,
    is_as_imported: Callable[[], bool],
    mover: Mover,
) -> bool:
    """Load them; whether they are all there, and RAM is resident.

    Args:
        ram: whole, and empty or nearly so.
        tiers: to read, until one had all rows; the last is the truth.
        mover: knows whether the store is being closed; then they are not needed any more.
        is_as_imported: no online update was ever made, so that the rows are those of the entry.
    """
    scanned = corrupt = 0
    for tier in tiers:
        since, scanned, corrupt = ram.moment(), 0, 0
        for part in tier.scan():
            ram.put_many(part.keys, part.rows, since)
            scanned += len(part.keys)
            corrupt += part.corrupt
            if mover.is_closing:
                return False
        if is_as_imported() and ram.settle(entry.rows):
            return True
    if scanned >= entry.rows and not corrupt and ram.settle(scanned):
        return True
    _log.warning(
        "table %r version %d: RAM got %d of its %d rows, so look-ups go on to disk; import it "
        "again: some are damaged (see `sedp store verify`), or updates have added too many",
        entry.spec.name,
        entry.spec.version,
        ram.statistics().rows,
        max(scanned, entry.rows),
    )
    return False


def tell_of_lost_rows(entry: Entry) -> None:
    """RAM had all rows of this version, and has not any more."""
    _log.warning(
        "table %r version %d: updates have added more rows than its RAM has room for, so look-ups "
        "go on to disk; import it again",
        entry.spec.name,
        entry.spec.version,
    )
