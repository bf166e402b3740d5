"""Changes of buckets within one write transaction.

To replace a bucket LMDB frees its old pages, and believes the header of the first one how many
there are: a wrong number would end the process, or free pages that are in use. So that header is
looked at before, and where it is damaged put right, as it can only be what the tree says.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sedp.errors import StoreError
from sedp.storage.lmdb.environment import LOG, VERSIONS, Environment
from sedp.storage.lmdb.format import BIG, DamagedError, Tree
from sedp.storage.lmdb.mending import copy_values, find_buckets, list_values, list_wrong_headers
from sedp.storage.lmdb.page_fetch import fetch_ranges
from sedp.storage.lmdb.pages import KEY_BYTES, address_of
from sedp.storage.lmdb.update_log import ENTRIES_MAX, encode_entry
from sedp.storage.lmdb.warm_version import WarmVersion, sign, unsign
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES
from sedp.storage.tier import Keys, Rows

FLOOR = b"!floor"  # among the versions
EPOCH = b"!epoch"  # beside it
_STEP_PAGES = 1 << 14  # fetched ahead at a time
_HEADER = struct.Struct("<QHHI")  # of a large value's first page: number, pad, flags, pages


class BucketWriter:
    """Reads and writes buckets in one write transaction with buffers."""

    def __init__(self, transaction: Any, environment: Environment) -> None:
        self._transaction = transaction
        self._environment = environment
        self._versions = environment.handle(VERSIONS)
        self._written = set[str]()

    def read(self, name: str, buckets: Keys, value_bytes: int) -> Rows:
        """Copies of the values of buckets that are there, uint8[m, value_bytes].

        Raises:
            StoreError: one of them is not.
        """
        values = np.empty((len(buckets), value_bytes), dtype=np.uint8)
        is_known = self._environment.is_known_format
        pages = self._pages(name, buckets, value_bytes) if is_known else None
        if pages is not None:
            _mend(self._environment, pages, value_bytes)
        if pages is None or name in self._written:  # which are not in the file yet
            cursor = self._transaction.cursor(db=self._environment.handle(name))
            found = [value for _, value in cursor.getmulti(bucket_keys(buckets))]
            if [len(value) for value in found] != [value_bytes] * len(buckets):
                raise self._lacking(name)
            copy_values(np.array([address_of(value) for value in found], np.uint64), values)
        else:
            copy_values(pages + np.uint64(HEADER_BYTES), values)
        return values

    def _pages(self, name: str, buckets: Keys, value_bytes: int) -> Keys | None:
        """Where these buckets were before the transaction; None of a tree that is new in it."""
        tree = Tree.decode(bytes(self._transaction.get(name.encode(), b"")))
        if not tree.depth:
            return None
        pages = np.empty(len(buckets), dtype=np.uint64)
        place = self._environment.base, tree.root, tree.depth
        if find_buckets(*place, value_bytes, buckets, pages) < len(buckets):
            raise self._lacking(name)
        return pages

    def _lacking(self, name: str) -> StoreError:
        return StoreError(f"warm tier {self._environment.path}: {name} lacks buckets it had")

    def write(self, name: str, buckets: Keys, values: Rows, added: int) -> None:
        """Replace these buckets, which have so many rows more than before, or fewer."""
        self._written.add(name)
        pairs = zip(bucket_keys(buckets), values, strict=True)
        self._transaction.cursor(db=self._environment.handle(name)).putmulti(pairs)
        if added:
            version = WarmVersion.decode(
                bytes(self._transaction.get(name.encode(), b"", db=self._versions))
            )
            assert version is not None
            version = replace(version, rows=max(0, version.rows + added))
            self._transaction.put(name.encode(), version.encode(), db=self._versions)

    def publish(self, name: str, version: WarmVersion) -> None:
        """From now on the version is served from here."""
        self._transaction.put(name.encode(), version.encode(), db=self._versions)

    def unpublish(self, name: str) -> None:
        """The version is no longer served from here; its buckets stay until it is dropped."""
        self._transaction.delete(name.encode(), db=self._versions)

    def raise_floor(self, epoch: int) -> None:
        """Rows changed up to this epoch may not be in the warm tier any more, or never were."""
        self._transaction.put(FLOOR, sign(b"%d" % epoch), db=self._versions)

    def set_epoch(self, epoch: int) -> None:
        """All rows changed up to this epoch are in."""
        self._transaction.put(EPOCH, sign(b"%d" % epoch), db=self._versions)

    def log(self, keys: Mapping[str, Keys]) -> None:
        """Tell all readers which rows changed, by version; none at all: the catalogue changed."""
        log = self._transaction.cursor(db=self._environment.handle(LOG))
        last = int.from_bytes(log.key(), "big") if log.last() else 0
        log.put((last + 1).to_bytes(8, "big"), encode_entry(keys), append=True)
        if last >= ENTRIES_MAX and log.first():
            log.delete()


def read_number(signed: bytes | memoryview | None) -> int:
    """An epoch that was written; 0 if none was, or if it is damaged."""
    data = None if signed is None else unsign(bytes(signed))
    return 0 if data is None else int(data)


def bucket_keys(buckets: Keys) -> list[bytes]:
    """The keys that LMDB knows buckets by."""
    listed: list[bytes] = buckets.astype(f">u{KEY_BYTES}").view(f"V{KEY_BYTES}").tolist()
    return listed


def as_values(values: Rows) -> list[bytes]:
    """Each row as bytes."""
    listed: list[bytes] = values.view(f"V{values.shape[1]}").ravel().tolist()
    return listed


def mend_all(transaction: Any, environment: Environment, name: str) -> None:
    """Put right the headers of all large values of a database, as LMDB drops it by them.

    Raises:
        StoreError: its tree is damaged.
    """
    try:
        tree = Tree.decode(bytes(transaction.get(name.encode(), b"")))
        pages, value_bytes = list_values(environment.base, environment.pages, tree)
    except DamagedError as err:
        environment.is_gone = True
        raise StoreError(f"warm tier {environment.path}: {name} is damaged: {err}") from err
    _mend(environment, pages, value_bytes)


def _mend(environment: Environment, pages: Keys, value_bytes: int) -> None:
    """Check the headers at these addresses, but for copies of pages not yet in the file."""
    count = (HEADER_BYTES - 1 + value_bytes) // PAGE_BYTES + 1
    for start in range(0, len(pages), _STEP_PAGES):
        step = pages[start : start + _STEP_PAGES]
        fetch_ranges(np.stack([step, np.full_like(step, PAGE_BYTES)], axis=1))
        for page in list_wrong_headers(environment.base, environment.pages, count, step).tolist():
            environment.overwrite(page * PAGE_BYTES, _HEADER.pack(page, 0, BIG, count))
