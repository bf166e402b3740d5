"""Brings the warm tier up to date with the truth when the writer ended between the two commits.

A group of updates is in RocksDB a moment before it is in LMDB, and longer if LMDB's disk is full.
So RocksDB's batch says which keys LMDB lacks with it, and since which epoch; LMDB says up to which
epoch it has all. Where they differ at the next open, those rows are read from the truth again; if
that is not enough, the versions are dropped and made anew.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping

from sedp.storage.catalogue import Catalogue
from sedp.storage.lmdb_database import LmdbDatabase
from sedp.storage.lmdb_tier import LmdbTier
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.rocksdb_tier import RocksdbTier
from sedp.storage.tier import Keys
from sedp.storage.update_log import collect, encode_entry

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
        keys: by version, what it lacks once this epoch is written.
    """
    pending = _NUMBER.pack(complete) + encode_entry(keys)
    return [(EPOCH_KEY, _NUMBER.pack(epoch)), (_PENDING_KEY, pending)]


def read_epoch(truth: RocksDatabase) -> int:
    """The epoch of the last group committed; 0 before the first."""
    data = truth.get_meta(EPOCH_KEY)
    return 0 if data is None else int(_NUMBER.unpack(data)[0])


def recover(truth: RocksDatabase, warm: LmdbDatabase, catalogue: Catalogue) -> None:
    """Give LMDB what it lacks; nobody may be served from it yet.

    Raises:
        StoreError: it cannot be written.
    """
    epoch, held = read_epoch(truth), warm.epoch()
    if held == epoch:
        return
    pending = truth.get_meta(_PENDING_KEY) or b""
    names = warm.versions()
    if not pending or held < _NUMBER.unpack_from(pending)[0]:
        _log.warning("warm tier has updates up to %d of %d: it is made anew", held, epoch)
        for name in names:
            warm.drop(name)
        names = {}
    keys = collect([pending[_NUMBER.size :]]).keys
    with warm.updating() as writer:
        for entry in catalogue.entries:
            if entry.name in names and entry.name in keys:
                tier = LmdbTier(warm, entry, names[entry.name].shape)
                records = RocksdbTier(truth, entry).read_records(keys[entry.name])
                tier.merge(writer, *records, None, is_update=True)
        writer.raise_floor(epoch)
        writer.set_epoch(epoch)
        writer.log(keys)
    warm.refresh()
