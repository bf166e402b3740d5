"""One table version in the truth. What it does not have does not exist; damage here is an error.

A version that chains on a base has the base's rows, but for those of its own. The base is always
read first: before one of its rows changes, the old one is put into all versions over it, so whoever
reads them afterwards finds it there, and no lock is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import is_not

import numpy as np

from sedp.errors import CorruptionError
from sedp.storage.catalogue import Entry
from sedp.storage.rocksdb.chain import (
    Slice,
    layer_slices,
    overlaid,
    removals_of,
    resealed,
    unlayer,
)
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rows.bucket import keys_at, places_of
from sedp.storage.rows.pairs import as_key_list, join_found, join_slices
from sedp.storage.rows.record import TRAILER_BYTES, seal, unseal
from sedp.storage.rows.scan import RecordSlice, check_records
from sedp.storage.tier import Keys, Mask, Rows, TierCounts, TierStatistics


class RocksdbTier:
    """Reads the version of `entry`, whose rows are filed under the places of their keys."""

    def __init__(self, database: RocksDatabase, entry: Entry) -> None:
        self._database = database
        self._entry = entry
        self._name = entry.name
        self._layout = entry.spec.layout
        self._record_bytes = entry.spec.row_bytes + TRAILER_BYTES
        self._base = None if entry.base is None else RocksdbTier(database, entry.base)
        self._counts = TierCounts()
        self._bytes = 0

    @property
    def name(self) -> str:
        """Of the version's entry."""
        return self._name

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        """Copy the rows of keys to where the caller wants them.

        Args:
            keys: uint64[n], repeats allowed; ascending is faster.
            out: uint8[n, row_bytes]. Rows of missing keys mean nothing.
            missing: bool[n], written in full.

        Returns:
            How many are missing, 0..n.

        Raises:
            CorruptionError: the truth is damaged.
        """
        corrupt = self._read(keys, out, missing)
        count = int(np.count_nonzero(missing))
        self._counts.add_batch(len(keys), len(keys) - count, corrupt)
        if corrupt:
            spec = self._entry.spec
            raise CorruptionError(
                f"table {spec.name!r} version {spec.version}: {corrupt} of {len(keys)} rows "
                "asked of RocksDB do not match their checksums; import the table again"
            )
        return count

    def _read(self, keys: Keys, out: Rows, missing: Mask) -> int:
        """As `get_many`, but returns how many are damaged; those are missing, too."""
        if self._base is not None:
            return self._read_over(self._base, keys, out, missing)

        def take(part: slice, records: list[bytes | None]) -> int:
            found, joined, misshapen = join_found(records, self._record_bytes)
            wanted = keys[part]
            is_complete = len(joined) == self._record_bytes * len(wanted)
            held = wanted if is_complete else wanted[found]
            return misshapen + unseal(
                wanted, held, joined, self._entry.seed, out[part], missing[part]
            )

        return sum(self._database.read_parts(self._name, self._places(keys), take))

    def _read_over(self, base: RocksdbTier, keys: Keys, out: Rows, missing: Mask) -> int:
        damaged = base._read(keys, out, missing)
        is_own = np.zeros(len(keys), np.bool_)

        def take(part: slice, records: list[bytes | None]) -> int:
            held = [record for record in records if record is not None]
            if not held:
                return 0
            is_own[part] = _are_there(records)
            at = part.start + np.flatnonzero(is_own[part])
            out[at], missing[at], corrupt = unlayer(
                keys[at], held, self._record_bytes, self._entry.seed
            )
            return corrupt

        corrupt = sum(self._database.read_parts(self._name, self._places(keys), take))
        if damaged:  # perhaps of rows that are not the base's any more
            rest = keys[~is_own]
            damaged = base._read(rest, np.empty_like(out[: len(rest)]), missing[: len(rest)].copy())
        return corrupt + damaged

    def _places(self, keys: Keys) -> Keys:
        return places_of(keys, self._layout)

    def has_own(self, keys: Keys) -> Mask:
        """Of which keys it has a record itself, if only to say that there is no row."""
        return _are_there(self._database.read(self._name, self._places(keys)))

    def records_of_base(self, keys: Keys) -> tuple[tuple[str, Keys, Rows], ...]:
        """What to write to its own, so that it stays as it is when the base changes these keys.

        Returns:
            As `RocksDatabase.write_rows` takes them.

        Raises:
            CorruptionError: what the base has is damaged.
        """
        assert self._base is not None
        keys = keys[~self.has_own(keys)]
        rows = np.empty((len(keys), self._entry.spec.row_bytes), np.uint8)
        missing = np.empty(len(keys), np.bool_)
        self._base.get_many(keys, rows, missing)
        held, gone, seed = keys[~missing], keys[missing], self._entry.seed
        return (
            (self._name, self._places(held), seal(held, rows[~missing], 0, seed)),
            (self._name, self._places(gone), removals_of(gone, seed)),
        )

    def read_records(self, keys: Keys) -> tuple[Keys, Rows]:
        """Those of the distinct keys that have a record, and the records as they are stored."""
        below = None if self._base is None else self._base.read_records(keys)
        records = self._database.read(self._name, self._places(keys))
        found, joined, _ = join_found(records, self._record_bytes)
        table = np.frombuffer(joined, dtype=np.uint8).reshape(-1, self._record_bytes)
        if self._base is None or below is None:
            return keys[found], table
        base = check_records(*below, self._base._entry.seed)
        is_kept = np.isin(base.keys, keys[~_are_there(records)])
        kept = base.keys[is_kept]
        resealed_rows = seal(kept, base.rows[is_kept], 0, self._entry.seed)
        return np.concatenate([keys[found], kept]), np.concatenate([table, resealed_rows])

    def scan_records(self) -> Iterator[Slice]:
        """Records of all rows in the order of places, unchecked; ends early at damage, and tells.

        The version may not be dropped meanwhile.
        """
        if self._base is None:
            pairs = self._database.scan(self._name)
            slices = (Slice.of_rows(*part) for part in join_slices(pairs, self._record_bytes))
            return self._told_of_damage(slices)
        lacking = self._lacking()
        if lacking:  # nobody knows which rows of the base they would have replaced
            return iter([self._damaged(lacking)])
        seed = self._entry.seed
        below = resealed(self._base.scan_records(), self._layout, self._base._entry.seed, seed)
        own = self._database.scan(self._name)
        return overlaid(below, layer_slices(own, self._record_bytes, self._layout, seed))

    def _told_of_damage(self, slices: Iterator[Slice]) -> Iterator[Slice]:
        """With another one at the end if it is not the end of the version."""
        last = None
        for part in slices:
            yield part
            last = part.places[-1:] if len(part.places) else last
        key = None if last is None else as_key_list(last)[0]
        if self._database.is_damaged_behind(self._name, key):
            yield self._damaged(1)

    def _lacking(self) -> int:
        """How many of its own records cannot be read, at least."""
        ends = deque(enumerate(self._database.scan(self._name), 1), maxlen=1)
        count, (key, _) = ends.pop() if ends else (0, (None, None))
        is_damaged = self._database.is_damaged_behind(self._name, key)
        return max(self._entry.records - count, int(is_damaged))

    def _damaged(self, count: int) -> Slice:
        blank = np.empty((0, self._record_bytes), np.uint8)
        return Slice.of_rows(np.empty(0, np.uint64), blank, count)

    def places_below(self, bound: int) -> int:
        """How many places there are up to the last one taken under a bound."""
        last = self._database.last_key(self._name, bound)
        own = 0 if last is None else last + 1
        return own if self._base is None else max(own, self._base.places_below(bound))

    def scan(self) -> Iterator[RecordSlice]:
        """The same rows, as far as they hold, in slices of a few thousand."""
        for part in self.scan_records():
            keys = keys_at(part.places, self._layout)
            checked = check_records(keys, part.records, self._entry.seed)
            corrupt = checked.corrupt + part.corrupt
            self._counts.add_corrupt(corrupt)
            yield RecordSlice(checked.keys, checked.rows, corrupt)

    def statistics(self) -> TierStatistics:
        """A frozen snapshot; nothing is waited for, so that an event loop may ask."""
        size = self._bytes_of_files()
        if size is not None:
            self._bytes = size
        return self._counts.statistics("rocksdb", self._entry.rows, self._bytes)

    def _bytes_of_files(self) -> int | None:
        """Of all the chain; None while they are being opened anew."""
        sizes = [self._database.bytes(entry.name) for entry in self._entry.chain]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None


def _are_there(records: Sequence[bytes | None]) -> Mask:
    """Which keys have a record, whatever it is."""
    return np.fromiter(map(is_not, records, repeat(None)), np.bool_, len(records))
