"""The parameter store: tables of rows in RAM, LMDB and RocksDB behind one batch look-up.

A library of its own: it knows `sedp.errors` and nothing else of the engine.
"""
