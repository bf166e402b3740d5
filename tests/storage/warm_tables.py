"""Table versions in the warm tier alone, whose every row tells its key and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.bucket_filler import BucketFiller
from sedp.storage.lmdb.bucket_writer import BucketWriter
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.lmdb.warm_version import WarmVersion
from sedp.storage.rows.bucket import BucketShape, Layout, places_of
from sedp.storage.rows.record import seal
from sedp.storage.table_spec import TableSpec
from sedp.storage.tier import Keys, Rows
from tests.storage.tables import some_keys


@dataclass(frozen=True)
class WarmTable:
    """Rows of `dim` float32 each; keys 0..rows-1 if dense, else any."""

    name: str
    dim: int
    layout: Layout
    rows: int

    @cached_property
    def entry(self) -> Entry:
        spec = TableSpec(self.name, self.dim, "float32", version=1, layout=self.layout)
        return Entry(spec, self.rows, seed=len(self.name) * 7919 + self.dim)

    @cached_property
    def keys(self) -> Keys:
        keys = np.arange(self.rows, dtype=np.uint64)
        return keys if self.layout == "dense" else some_keys(self.rows, seed=self.dim)

    @cached_property
    def shape(self) -> BucketShape:
        return BucketShape.for_rows(4 * self.dim, self.layout, self.rows)

    def row_of(self, keys: Keys, epochs: NDArray[np.uint64]) -> Rows:
        """uint8[n, 4 * dim]."""
        words = keys[:, np.newaxis] * np.uint64(31) + np.arange(self.dim, dtype=np.uint64)
        words = words * np.uint64(0x9E3779B97F4A7C15) + epochs[:, np.newaxis]
        return (words >> np.uint64(17)).astype(np.uint32).view(np.uint8)

    def records(self, keys: Keys, epoch: int) -> Rows:
        rows = self.row_of(keys, np.full(len(keys), epoch, np.uint64))
        return seal(keys, rows, epoch, self.entry.seed)

    def open(self, database: LmdbDatabase) -> LmdbTier:
        return LmdbTier(database, self.entry, self.shape)


def fill(database: LmdbDatabase, table: WarmTable, parts: int = 3) -> LmdbTier:
    """Import all rows at epoch 0, in `parts`, and serve them."""
    places = places_of(table.keys, table.layout)
    order = np.argsort(places)
    filler = BucketFiller(database, table.entry.name, table.shape)
    for part in np.array_split(order, parts):
        filler.add(table.keys[part], places[part], table.records(table.keys[part], 0))
    filler.finish()
    database.publish(table.entry.name, WarmVersion(table.shape, filler.rows))
    database.refresh()
    return table.open(database)


def picked(table: WarmTable, epoch: int) -> Keys:
    """The keys that an epoch changes; all of them from 99 on."""
    if epoch >= 99:
        return table.keys
    return table.keys[np.random.default_rng(epoch).random(table.rows) < 0.02]


def change(database: LmdbDatabase, writer: BucketWriter, table: WarmTable, epoch: int) -> None:
    """Update the keys of an epoch."""
    keys = picked(table, epoch)
    table.open(database).merge(writer, keys, table.records(keys, epoch), None, is_update=True)
    writer.log({table.entry.name: keys})
    writer.set_epoch(epoch)


def last_epochs(table: WarmTable, until: int) -> NDArray[np.uint64]:
    """The last epoch that changed each key."""
    epochs = np.zeros(table.rows, dtype=np.uint64)
    for epoch in range(1, until + 1):
        epochs[np.isin(table.keys, picked(table, epoch))] = epoch
    return epochs


def look_up_warm(database: LmdbDatabase, table: WarmTable, epochs: NDArray[np.uint64]) -> int:
    """Every row is as of its epoch or missing; returns how many are missing."""
    rows = np.zeros((table.rows, 4 * table.dim), dtype=np.uint8)
    missing = np.ones(table.rows, dtype=np.bool_)
    table.open(database).answer(table.keys, np.arange(table.rows), rows, missing)
    wrong = (rows != table.row_of(table.keys, epochs)).any(axis=1) & ~missing
    assert not wrong.any(), f"{np.count_nonzero(wrong)} rows of {table.name} are wrong"
    return int(np.count_nonzero(missing))
