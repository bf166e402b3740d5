"""The warm tier: buckets of rows in an LMDB file, read where they lie."""
