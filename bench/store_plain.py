"""What one would write instead of the store: the same libraries, called from plain Python.

Without checksums, versions or imports beside reads, so it does less than the store.
"""

from __future__ import annotations

import time
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
    """A table of 16 float32 in an LMDB environment and a RocksDB database under `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._environment = lmdb.open(str(folder / "lmdb"), map_size=1 << 30, readahead=False)
        self._database = Rdict(str(folder / "rocksdb"), _options())
        self._cached: OrderedDict[bytes, bytes] = OrderedDict()
        self.places = 0

    def fill_lmdb(self, keys: Keys, rows: Rows) -> float:
        """Store rows (float32[n, 16]) of distinct keys; seconds it took without sorting them."""
        keys, rows = _sorted(keys, rows)
        started = time.perf_counter()
        with self._environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(_pairs(keys, rows), append=True)
        return time.perf_counter() - started

    def fill_rocksdb(self, keys: Keys, rows: Rows) -> float:
        """The same."""
        keys, rows = _sorted(keys, rows)
        started = time.perf_counter()
        path = str(self._folder / "rows.sst")
        writer = SstFileWriter(_options())
        writer.open(path)
        for key, row in _pairs(keys, rows):
            writer[key] = row
        writer.finish()
        self._database.ingest_external_file([path])
        return time.perf_counter() - started

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


def _sorted(keys: Keys, rows: Rows) -> tuple[Keys, Rows]:
    order = np.argsort(keys)
    return keys[order], rows[order]


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
