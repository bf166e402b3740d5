"""Keeps versions as they are while the base that they chain on is updated.

That happens after a way back to the base. What is to change there is first put into the versions
over it, in the same step of RocksDB, unless they have a record of their own: see `rocksdb.tier`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sedp.storage.catalogue import Catalogue
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.tier import Keys, Rows
from sedp.storage.updates.lag import Change


def preserved(
    truth: RocksDatabase, catalogue: Catalogue, changes: Sequence[Change]
) -> list[tuple[str, Keys, Rows]]:
    """What to write along with these changes, as `RocksDatabase.write_rows` takes it.

    Raises:
        CorruptionError: a row that is to be preserved is damaged.
    """
    changed = {entry.name: keys for entry, keys, _ in changes}
    over = {
        link.name: (link, changed[link.base.name])
        for link in catalogue.links
        if link.base is not None and link.base.name in changed
    }
    return [
        part
        for link, keys in over.values()
        for part in RocksdbTier(truth, link).records_of_base(keys)
    ]
