"""One state of the warm tier: a read transaction held open, and where its buckets lie.

All threads read from one snapshot, for as long as the writer commits nothing. The next one is made
while it is still open, so that what has not moved need not be looked for again; the old one is
closed by the last batch that reads from it. As long as a snapshot is open its pages are not reused.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import lmdb

from sedp.storage.lmdb.pages import Addresses, PageTable, list_addresses, read_page_table
from sedp.storage.lmdb.warm_version import WarmVersion
from sedp.storage.rows.bucket import BucketShape

_log = logging.getLogger(__name__)


class Snapshot:
    """Where buckets are, by version, valid until `release` has been called once more than `hold`.

    Args:
        transaction: for reading, with buffers.
        base: address of page 0; 0 in a format that is not known.
        file_pages: pages that the file has.
    """

    def __init__(self, transaction: Any, base: int, file_pages: int) -> None:
        self._transaction = transaction
        self._lock = threading.Lock()
        self._holders = 1
        self.closed = threading.Event()
        self.number = int(transaction.id())
        self.base = base
        self.file_pages = file_pages
        self.floor = 0
        self.epoch = 0  # up to which updates are in it
        self.log_end = 0  # number of the last entry of the update log; 0 before the first
        self.versions: dict[str, WarmVersion] = {}  # that are served from it
        self.tables: dict[str, PageTable] = {}
        self.addresses: dict[str, Addresses] = {}  # instead, in a format that is not known

    def fill(
        self, trees: Mapping[str, bytes], shapes: Mapping[str, BucketShape], before: Snapshot | None
    ) -> None:
        """Read the page tables; a version whose tree is damaged gets none."""
        known = {} if before is None else before.tables
        for name, shape in shapes.items():
            size = shape.buckets, shape.pages
            tree = trees.get(name, b"")
            table = read_page_table(self.base, self.file_pages, tree, size, known.get(name))
            if table is None:
                _log.error("warm tier: the pages of %s are damaged; RocksDB answers for it", name)
            else:
                self.tables[name] = table

    def fill_slowly(self, handles: Mapping[str, Any], shapes: Mapping[str, BucketShape]) -> None:
        """The same through the public API, for files in a format that is not known."""
        for name in handles:
            shape = shapes[name]
            try:
                pairs = self._transaction.cursor(db=handles[name])
                self.addresses[name] = list_addresses(pairs, shape.buckets, shape.value_bytes)
            except (lmdb.Error, OverflowError, IndexError):
                _log.error("warm tier: the pages of %s are damaged; RocksDB answers for it", name)

    def hold(self) -> None:
        """One more reader."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """One reader less; the last one closes the transaction."""
        with self._lock:
            self._holders -= 1
            is_last = self._holders == 0
        if is_last:
            self._transaction.abort()
            self.closed.set()
