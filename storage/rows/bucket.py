"""Buckets: how rows lie in the pages of the warm tier, to be read where they are.

A bucket is the value of one LMDB key: a tag of one byte a slot, then the slots.

    tags uint8[16 * groups] | slots × (key uint64 | record: row, epoch, checksum)

LMDB puts a value of this size on pages of its own behind a header of 16 bytes, so the tags share
the first cache line with it. Keys have a *place*, a number that rises with the bucket. In a hashed
table it is the mixed key: buckets fill evenly to about two thirds, a key starts its search in
one group of 16 tags, and a group with a free slot ends it. What finds no slot stays in RocksDB. In
a dense table the place is the key itself, and says the very slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from sedp.storage.rows.keys import mix_all, unmix_all
from sedp.storage.rows.record import TRAILER_BYTES
from sedp.storage.tier import Keys

PAGE_BYTES = 4096
HEADER_BYTES = 16  # of a page of LMDB
GROUP_SLOTS = 16
SLOTS_MIN = 32  # fewer, and chance overfills too many buckets
SLOTS_MAX = 240
PAGES_MAX = 16
FILL = 0.62  # of the slots of a hashed table; 1 row in 60,000 finds none, at 48 slots

Layout = Literal["hashed", "dense"]


@dataclass(frozen=True)
class BucketShape:
    """What the buckets of one table version look like.

    Args:
        row_bytes: of a stored row; divides by 4.
        layout: "hashed" for any keys, "dense" for keys 0..n-1.
        buckets: how many there are, ≥ 1.
    """

    row_bytes: int
    layout: Layout
    buckets: int

    @classmethod
    def for_rows(cls, row_bytes: int, layout: Layout, rows: int) -> BucketShape:
        """Room for `rows`: keys 0..rows-1 of a dense table, any so many of a hashed one."""
        slots = cls(row_bytes, layout, 1).slots
        per_bucket = slots if layout == "dense" else slots * FILL
        return cls(row_bytes, layout, max(1, int(np.ceil(rows / per_bucket))))

    @property
    def is_dense(self) -> bool:
        """Places are keys."""
        return self.layout == "dense"

    @cached_property
    def slot_bytes(self) -> int:
        """A key and its record."""
        return 8 + self.row_bytes + TRAILER_BYTES

    @property
    def record_bytes(self) -> int:
        """What is stored of a row beside its key."""
        return self.row_bytes + TRAILER_BYTES

    @cached_property
    def pages(self) -> int:
        """Pages of one bucket: the fewest that hold `SLOTS_MIN` slots."""
        need = HEADER_BYTES + 2 * GROUP_SLOTS + SLOTS_MIN * self.slot_bytes
        return min(-(-need // PAGE_BYTES), PAGES_MAX)

    @cached_property
    def value_bytes(self) -> int:
        """Bytes of a value."""
        return max(self.pages * PAGE_BYTES - HEADER_BYTES, GROUP_SLOTS + self.slot_bytes)

    @cached_property
    def slots(self) -> int:
        """Slots of one bucket."""
        slots = min(self.value_bytes // (1 + self.slot_bytes), SLOTS_MAX)
        while slots > 1 and _rounded(slots) + slots * self.slot_bytes > self.value_bytes:
            slots -= 1
        return slots

    @cached_property
    def tag_bytes(self) -> int:
        """Bytes of the tags: whole groups, of which the last may have tags without a slot."""
        return _rounded(self.slots)

    @property
    def disk_bytes(self) -> int:
        """Pages of all buckets."""
        return self.buckets * (self.value_bytes + HEADER_BYTES)

    def buckets_of(self, places: Keys) -> Keys:
        """The bucket of every place, uint64[n]; ≥ `buckets` for keys a dense table cannot hold."""
        if self.is_dense:
            return places // np.uint64(self.slots)
        return ((places >> np.uint64(32)) * np.uint64(self.buckets)) >> np.uint64(32)


def places_of(keys: Keys, layout: Layout) -> Keys:
    """The place of every key, uint64[n]: what rows are sorted by in both cold tiers."""
    return keys if layout == "dense" else mix_all(keys)


def keys_at(places: Keys, layout: Layout) -> Keys:
    """The keys that have these places."""
    return places if layout == "dense" else unmix_all(places)


def _rounded(slots: int) -> int:
    return -(-slots // GROUP_SLOTS) * GROUP_SLOTS
