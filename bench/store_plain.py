"""What one would write instead of the store: the same libraries, called from plain Python.

Without checksums, versions or imports beside reads, so it does less than the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    SstFileWriter,
)

from bench.store_batches import DIM, ROW_BYTES

BLOCK_CACHE_BYTES = 256 << 20  # more than the table: the best case of RocksDB
BLOOM_BITS = 10
_SLICE_ROWS = 1 << 12
_DEFAULT = bytes(ROW_BYTES)

Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]


class PlainTiers:
    """One table in an LMDB environment, a RocksDB database and a file of rows under `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._environment = lmdb.open(str(folder / "lmdb"), map_size=1 << 30, readahead=False)
        self._database = Rdict(str(folder / "rocksdb"), _options())
        self._cached: OrderedDict[bytes, bytes] = OrderedDict()
        self.places = 0

    def fill(self, keys: Keys, rows: Rows) -> None:
        """Store rows (float32[n, 16]) of distinct keys in both, on disk when this returns."""
        order = np.argsort(keys)
        keys, rows = keys[order], rows[order]
        with self._environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(_pairs(keys, rows), append=True)
        path = str(self._folder / "rows.sst")
        writer = SstFileWriter(_options())
        writer.open(path)
        for key, row in _pairs(keys, rows):
            writer[key] = row
        writer.finish()
        self._database.ingest_external_file([path])

    def get_from_lmdb(self, keys: Keys) -> Rows:
        """The fastest call that py-lmdb has for many keys; all must be there."""
        with self._environment.begin() as transaction:
            pairs = transaction.cursor().getmulti(_key_list(keys))
        return _as_rows([row for _, row in pairs])

    def get_from_rocksdb(self, keys: Keys) -> Rows:
        """The fastest call that rocksdict has for many keys; all must be there."""
        return _as_rows(self._database.get(_key_list(keys)))

    def look_up(self, keys: Keys) -> Rows:
        """Through an LRU of `places` rows, then LMDB, then RocksDB, then a row of zeros."""
        rows = list[bytes]()
        cached = self._cached
        with self._environment.begin() as transaction:
            for key in _key_list(keys):
                row = cached.get(key)
                if row is None:
                    row = transaction.get(key) or self._database.get(key) or _DEFAULT
                    cached[key] = row
                    if len(cached) > self.places:
                        cached.popitem(last=False)
                else:
                    cached.move_to_end(key)
                rows.append(row)
        return _as_rows(rows)

    def close(self) -> None:
        self._environment.close()
        self._database.close()


def _options() -> Any:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.none())
    return options


def _key_list(keys: Keys) -> list[bytes]:
    listed: list[bytes] = keys.astype(">u8").view("V8").tolist()
    return listed


def _pairs(keys: Keys, rows: Rows) -> Iterator[tuple[bytes, bytes]]:
    """Made a slice at a time: more objects at once only feed the collector."""
    for start in range(0, len(keys), _SLICE_ROWS):
        part = slice(start, start + _SLICE_ROWS)
        records = rows[part].view(f"V{ROW_BYTES}").ravel().tolist()
        yield from zip(_key_list(keys[part]), records, strict=True)


def _as_rows(rows: list[bytes]) -> Rows:
    return np.frombuffer(b"".join(rows), dtype=np.float32).reshape(-1, DIM)
