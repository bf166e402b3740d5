"""Brings the warm tier up to date with the truth when the writer ended between the two commits.

A group of updates is in RocksDB a moment before it is in LMDB, and longer if LMDB's disk is full.
So RocksDB's batch says which keys LMDB lacks with it, and since which epoch; LMDB says up to which
epoch it has all. Where they differ at the next open, those rows are read from the truth again; if
that is not enough, the versions are dropped and made anew. Readers ask the same while LMDB lacks
something.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping

from sedp.storage.catalogue import Catalogue
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.lmdb.update_log import ALL_CHANGED, ALL_KEYS, Changes, collect, encode_entry
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.tier import Keys

EPOCH_KEY = b"epoch"
_PENDING_KEY = b"pending"
_NUMBER = struct.Struct("<Q")

_log = logging.getLogger(__name__)


def batch_values(
    epoch: int, complete: int, keys: Mapping[str, Keys]
) -> list[tuple[bytes, bytes | None]]:
    """What to write with the rows of an epoch.

    Args:
        complete: the epoch up to which LMDB has everything.
        keys: by version, what it lacks once this epoch is written, until it is given it.
    """
    pending = _NUMBER.pack(complete) + encode_entry(keys)
    return [(EPOCH_KEY, _NUMBER.pack(epoch)), (_PENDING_KEY, pending)]


def read_epoch(truth: RocksDatabase) -> int:
    """The epoch of the last group committed; 0 before the first."""
    data = truth.get_meta(EPOCH_KEY)
    return 0 if data is None else int(_NUMBER.unpack(data)[0])


def changes_since(truth: RocksDatabase, epoch: int) -> Changes:
    """Rows changed after an epoch, as far as the truth itself can tell."""
    if read_epoch(truth) <= epoch:
        return Changes()
    pending = truth.get_meta(_PENDING_KEY) or b""
    if not pending or _NUMBER.unpack_from(pending)[0] > epoch:
        return ALL_CHANGED
    return collect([pending[_NUMBER.size :]])


def recover(truth: RocksDatabase, warm: LmdbDatabase, catalogue: Catalogue) -> None:
    """Give LMDB what it lacks; nobody may be served from it yet.

    Raises:
        StoreError: it cannot be written.
    """
    epoch, held = read_epoch(truth), warm.epoch()
    if held == epoch:
        return
    changes = ALL_CHANGED if held > epoch else changes_since(truth, held)
    if changes.has_gap:
        _log.warning("warm tier has updates up to %d, not %d: it is made anew", held, epoch)
    entries, changed = {entry.name: entry for entry in catalogue.entries}, dict(changes.keys)
    for name in warm.versions():
        if changes.has_gap or changed.get(name) is ALL_KEYS or name not in entries:
            warm.drop(name)
            changed[name] = ALL_KEYS
    with warm.updating() as writer:
        for name, version in warm.versions().items():
            if name in changed:
                tier = LmdbTier(warm, entries[name], version.shape)
                records = RocksdbTier(truth, entries[name]).read_records(changed[name])
                tier.merge(writer, *records, None, is_update=True)
        writer.raise_floor(epoch)
        writer.set_epoch(epoch)
        writer.log(changed)
    warm.refresh()
