"""A version that chains on a base: rows of its own, over those of the base.

Its column family holds what a delta changed, and *removals*: records without a row, of keys that
have none here whatever the base says. Both are sealed with the version's own seed. A scan of the
chain merges its families in the order of places, the newest winning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice

import numpy as np

from sedp.storage.rows.bucket import Layout, keys_at, places_of
from sedp.storage.rows.pairs import KEY_BYTES, SLICE_ROWS, Pair, join
from sedp.storage.rows.record import TRAILER_BYTES, seal, unseal
from sedp.storage.rows.scan import check_records
from sedp.storage.tier import Keys, Mask, Rows


@dataclass(frozen=True, slots=True)
class Slice:
    """Records that follow each other in the order of places.

    Args:
        places: uint64[n], ascending.
        records: uint8[n, record_bytes].
        removed: bool[n]: there is no row, and the record means nothing.
        corrupt: how many others are known to be damaged.
    """

    places: Keys
    records: Rows
    removed: Mask
    corrupt: int = 0

    @classmethod
    def of_rows(cls, places: Keys, records: Rows, corrupt: int = 0) -> Slice:
        """Without removals."""
        return cls(places, records, np.zeros(len(places), np.bool_), corrupt)

    def up_to(self, place: int) -> Slice:
        """The part up to a place, itself included."""
        end = int(np.searchsorted(self.places, np.uint64(place), side="right"))
        return Slice(self.places[:end], self.records[:end], self.removed[:end], self.corrupt)

    def behind(self, place: int) -> Slice | None:
        """The other part; None if nothing is left."""
        start = int(np.searchsorted(self.places, np.uint64(place), side="right"))
        if start == len(self.places):
            return None
        return Slice(self.places[start:], self.records[start:], self.removed[start:])

    def rows_only(self) -> Slice:
        """Without the removals."""
        if not self.removed.any():
            return self
        held = ~self.removed
        return Slice.of_rows(self.places[held], self.records[held], self.corrupt)

    def over(self, below: Slice) -> Slice:
        """These rows, and those of `below` at other places."""
        kept = ~np.isin(below.places, self.places, assume_unique=True)
        mine = self.rows_only()
        places = np.concatenate([below.places[kept], mine.places])
        records = np.concatenate([below.records[kept], mine.records])
        order = np.argsort(places)
        return Slice.of_rows(places[order], records[order], self.corrupt + below.corrupt)


def removals_of(keys: Keys, seed: int) -> Rows:
    """Records, uint8[n, 8], that say of keys that they have no row."""
    return seal(keys, np.empty((len(keys), 0), np.uint8), 0, seed)


def layer_slices(
    pairs: Iterator[Pair], record_bytes: int, layout: Layout, seed: int
) -> Iterator[Slice]:
    """What a version has over its base, some thousand records at a time.

    A record of no known length hides the row below it, as a removal does: which row it was to be
    nobody knows, but surely not the one below.
    """
    while part := list(islice(pairs, SLICE_ROWS)):
        whole = [pair for pair in part if len(pair[1]) == record_bytes]
        places, records, _ = join(whole, record_bytes)
        others = [pair for pair in part if len(pair[1]) != record_bytes]
        gone, corrupt = _removed(others, layout, seed)
        every = np.concatenate([places, gone])
        order = np.argsort(every)
        blank = np.zeros((len(gone), record_bytes), np.uint8)
        yield Slice(
            every[order], np.concatenate([records, blank])[order], (order >= len(places)), corrupt
        )


def _removed(pairs: Sequence[Pair], layout: Layout, seed: int) -> tuple[Keys, int]:
    """Places of removals, and how many of these are damaged."""
    joined = b"".join(key for key, _ in pairs if len(key) == KEY_BYTES)
    held, trailers, misshapen = join(pairs, TRAILER_BYTES)
    part = check_records(keys_at(held, layout), trailers, seed)
    return np.frombuffer(joined, ">u8").astype(np.uint64), misshapen + part.corrupt


def resealed(slices: Iterator[Slice], layout: Layout, seed: int, own_seed: int) -> Iterator[Slice]:
    """The records of a base as those of the version over it; the damaged ones are left out."""
    for part in slices:
        sound = check_records(keys_at(part.places, layout), part.records, seed)
        records = seal(sound.keys, sound.rows, 0, own_seed)
        places = places_of(sound.keys, layout)
        yield Slice.of_rows(places, records, part.corrupt + sound.corrupt)


def overlaid(below: Iterator[Slice], over: Iterator[Slice]) -> Iterator[Slice]:
    """Both as one, in the order of places; of a place that both have `over` says what is there.

    `below` is begun first: a row that changes there meanwhile was put into `over` before.
    """
    low, high = next(below, None), next(over, None)
    while low is not None and high is not None:
        if not len(low.places):
            yield low
            low = next(below, None)
            continue
        bound = min(int(low.places[-1]), int(high.places[-1]))
        yield high.up_to(bound).over(low.up_to(bound))
        low = low.behind(bound) or next(below, None)
        high = high.behind(bound) or next(over, None)
    yield from (() if low is None else (low,))
    yield from below
    for part in () if high is None else (high,):
        yield part.rows_only()
    for part in over:
        yield part.rows_only()


def unlayer(
    keys: Keys, records: Sequence[bytes], record_bytes: int, seed: int
) -> tuple[Rows, Mask, int]:
    """Rows of keys that a version has records of, which of them have no row, how many are damaged.

    Args:
        keys: uint64[n].
        records: one a key, whole or a removal; any other is damaged.

    Returns:
        uint8[n, row_bytes], of keys without a row undefined; bool[n]; 0..n.
    """
    rows = np.empty((len(keys), record_bytes - TRAILER_BYTES), np.uint8)
    missing = np.ones(len(keys), np.bool_)
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    corrupt = int(np.count_nonzero((lengths != record_bytes) & (lengths != TRAILER_BYTES)))
    for length in (record_bytes, TRAILER_BYTES):
        at = np.flatnonzero(lengths == length)
        part, lacking = np.empty((len(at), length - TRAILER_BYTES), np.uint8), missing[at]
        joined = b"".join(compress(records, lengths == length))
        corrupt += unseal(keys[at], keys[at], joined, seed, part, lacking)
        if length == record_bytes:
            rows[at], missing[at] = part, lacking
    return rows, missing, corrupt
