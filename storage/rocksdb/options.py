"""How RocksDB is set up: small blocks, little memory, rows uncompressed, the log on.

Reads here are the tail that RAM and LMDB left over: single rows all over a table. So a block is
small, as the rest of it is read for nothing.
Written rows wait in small memtables, where inserting is twice as fast as in RocksDB's own 64 MiB.
"""

from __future__ import annotations

from typing import Any

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    IngestExternalFileOptions,
    Options,
    ReadOptions,
    WriteOptions,
)

CACHE_BYTES = 64 << 20  # blocks of all versions; what is not there is asked of the page cache
BLOCK_BYTES = 1 << 10  # four to a page of the operating system, which is what the disk reads
BLOOM_BITS = 10  # a key: 1 % of absent keys cost a read
MEMTABLE_BYTES = 8 << 20  # of one version
MEMTABLES_MAX = 4  # of one version, before its writers wait
MEMTABLES_BYTES = 64 << 20  # of all versions
LOG_BYTES_MAX = 32 << 20  # replayed after a crash, and by readers when files change
SCAN_AHEAD_BYTES = 2 << 20


def new_cache(cache_bytes: int) -> Any:
    """A cache of blocks for one database; threads do not wait for each other in it."""
    return Cache.new_hyper_clock_cache(cache_bytes, 0)


def make_options(cache: Any) -> Any:
    """For a database and each of its column families."""
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_block_size(BLOCK_BYTES)
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.none())  # rows of floats hardly compress
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(MEMTABLES_MAX)
    options.set_db_write_buffer_size(MEMTABLES_BYTES)
    options.set_max_total_wal_size(LOG_BYTES_MAX)
    options.set_keep_log_file_num(4)
    return options


def scan_options() -> Any:
    """For reading a version from end to end."""
    options = ReadOptions()
    options.set_readahead_size(SCAN_AHEAD_BYTES)
    return options


def write_options() -> Any:
    """For writes that `flush_wal` makes durable: it lets other threads run, a synced write not."""
    return WriteOptions()


def ingest_options() -> Any:
    """For files that are moved in."""
    options = IngestExternalFileOptions()
    options.set_move_files(True)
    return options
