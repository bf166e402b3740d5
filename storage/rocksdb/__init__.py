"""The truth: every row, in RocksDB."""
