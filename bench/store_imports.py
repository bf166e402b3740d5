"""Rows a second into RocksDB alone, into LMDB alone, and through the whole import.

The two alone take rows that are sorted and sealed, in blocks as an import has them; the import
takes them in chunks in no order.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import Effort, at_least
from bench.store_built import Built
from bench.store_plain import PlainTiers
from sedp.storage.imports.sorted_runs import BLOCK_BYTES
from sedp.storage.lmdb.bucket_filler import BucketFiller
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rows.bucket import BucketShape, places_of
from sedp.storage.rows.record import seal
from sedp.storage.tier import Keys, Rows

GOAL = at_least(2_000_000)
ROUNDS_MAX = 3

Block = tuple[Keys, Keys, Rows]  # keys, their places, records


def import_figures(built: Built, effort: Effort) -> list[Figure]:
    """Of a hashed table; builds the store anew every round."""
    blocks = list(_blocks(built))
    works = (
        (lambda: _into_rocksdb(built.folder / "alone", blocks), _plain(built, "rocksdb")),
        (lambda: _into_lmdb(built, blocks), _plain(built, "lmdb")),
        (built.import_store, lambda: _plain(built, "lmdb")() + _plain(built, "rocksdb")()),
    )
    names = (
        ("into RocksDB alone", "SstFileWriter"),
        ("into LMDB alone", "putmulti"),
        ("import_table, rows in no order", "putmulti + SstFileWriter"),
    )
    rounds = min(effort.rounds, ROUNDS_MAX)
    taken = measure_in_turn(rounds, *(work for pair in works for work in pair))
    rows = len(built.keys)
    return [
        make_figure(
            f"import of {rows:,} rows: {name}",
            "rows/s",
            [rows / seconds for seconds in taken[2 * at]],
            goal=GOAL,
            anchor=anchor,
            anchor_rounds=[rows / seconds for seconds in taken[2 * at + 1]],
        )
        for at, (name, anchor) in enumerate(names)
    ]


def _blocks(built: Built) -> Iterator[Block]:
    places = places_of(built.keys, built.spec.layout)
    order = np.argsort(places)
    step = BLOCK_BYTES // (8 + built.spec.row_bytes)
    for start in range(0, len(order), step):
        part = order[start : start + step]
        keys = built.keys[part]
        yield keys, places[part], seal(keys, built.spec.encode(built.rows[part]), 0, 1)


def _into_rocksdb(folder: Path, blocks: list[Block]) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    database = RocksDatabase(folder / "rocksdb", read_only=False, create=True)
    try:
        started = time.perf_counter()
        database.create("alone")
        paths = [folder / f"{number}.sst" for number in range(len(blocks))]
        for path, (_, places, records) in zip(paths, blocks, strict=True):
            database.write_file(path, places, records)
        database.ingest("alone", paths)
        return time.perf_counter() - started
    finally:
        database.close()


def _into_lmdb(built: Built, blocks: list[Block]) -> float:
    folder = built.folder / "alone"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    database = LmdbDatabase(folder / "lmdb", read_only=False)
    try:
        started = time.perf_counter()
        spec = built.spec
        shape = BucketShape.for_rows(spec.row_bytes, spec.layout, len(built.keys))
        filler = BucketFiller(database, "alone", shape)
        for keys, places, records in blocks:
            filler.add(keys, places, records)
        filler.finish()
        return time.perf_counter() - started
    finally:
        database.close()


def _plain(built: Built, library: str) -> Callable[[], float]:
    def fill() -> float:
        folder = built.folder / "plain-alone"
        shutil.rmtree(folder, ignore_errors=True)
        plain = PlainTiers(folder)
        try:
            fill_one = plain.fill_lmdb if library == "lmdb" else plain.fill_rocksdb
            return fill_one(built.keys, built.rows)
        finally:
            plain.close()

    return fill
