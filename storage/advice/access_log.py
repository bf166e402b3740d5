"""Which keys of a table were asked for, in order: a sample that tells its hit ratio at other sizes.

Kept are *all* accesses of *some* keys, those whose hash is below a threshold, so that the sample
is the same traffic on a smaller scale (Waldspurger, Park, Garthwaite, Ahmad: Efficient MRC
construction with SHARDS, FAST 2015). Memory is bounded in two ways, in this order:

- The log begins with every key. Full, it halves its rate and drops the keys that no longer belong
  (SHARDS of a fixed size), and still covers all the time since it began.
- Not below the rate that leaves 65,536 of the table's keys: fewer would tell the curve to no
  better than a point. From there on the oldest accesses go, and are counted.

So a young log gives advice early, and an old one speaks of the traffic of late, not of last week's,
yet of no less than `capacity / 131,072` accesses a row: 8 by default, enough to warm any cache.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.kernel import kernel
from sedp.storage.imports.npz_file import NPZ_ERRORS
from sedp.storage.rows.keys import mix
from sedp.storage.tier import Keys

CAPACITY = 1 << 20  # accesses held, 16 bytes each
SAMPLED_KEYS_MIN = 1 << 16
HALVINGS_MAX = 32
# Keeps the choice of keys apart from the RAM tier's choice of sets, which mixes the key itself.
SALT = np.uint64(0xA0761D6478BD642F)

_CHUNK = 64
_ALL = (1 << 64) - 1


@kernel(
    "UniTuple(int64, 2)(Array(uint64, 1, 'C', readonly=True), int64, uint64, boolean, uint64,"
    " uint64[::1], uint64[::1], int64)"
)
def record_keys(
    keys: Keys,
    start: int,
    last: np.uint64,
    may_overwrite: bool,
    seen: np.uint64,
    ring: Keys,
    times: Keys,
    written: int,
) -> tuple[int, int]:
    """Append the sampled keys from `start` on, and when they came, to a ring.

    Whether a key is sampled cannot be predicted, so a chunk's are found without a branch first.

    Args:
        last: highest hash of a sampled key.
        may_overwrite: the oldest may go; if not, it stops before the key that has no place.
        seen: accesses before this batch.
        written: entries appended so far.

    Returns:
        Where it stopped in `keys`, and entries appended so far.
    """
    sampled, hashes = np.empty(_CHUNK, dtype=np.int64), np.empty(_CHUNK, dtype=np.uint64)
    place = written % ring.size
    for chunk in range(start, keys.size, _CHUNK):
        size = min(_CHUNK, keys.size - chunk)
        for i in range(size):  # a loop of its own, which the compiler can vectorise
            hashes[i] = mix(keys[chunk + i] ^ SALT)
        count = 0
        for i in range(size):
            sampled[count] = chunk + i
            count += 1 if hashes[i] <= last else 0
        for i in sampled[:count]:
            if written >= ring.size and not may_overwrite:
                return i, written
            ring[place] = keys[i]
            times[place] = seen + np.uint64(i)
            place = place + 1 if place + 1 < ring.size else 0
            written += 1
    return keys.size, written


@kernel("int64(uint64, uint64[::1], uint64[::1], int64)")
def keep_sampled(last: np.uint64, ring: Keys, times: Keys, held: int) -> int:
    """Drop the first `held` entries' keys with hashes above `last`; returns how many stay."""
    kept = 0
    for i in range(held):
        ring[kept], times[kept] = ring[i], times[i]
        kept += 1 if mix(ring[i] ^ SALT) <= last else 0
    return kept


@dataclass(frozen=True, slots=True)
class AccessSample:
    """What an access log held at one moment.

    Args:
        table: its name.
        rows: rows it has.
        row_bytes: bytes of one of them.
        keys: uint64[m], the sampled accesses in order.
        times: uint64[m], ascending: how many accesses of any key came before each.
        halvings: one key in 2^halvings was sampled, 0..32.
        seen: accesses of any key since the log began.
        batches: how many batches they came in, none empty.
        dropped: sampled accesses that went because the log was full at its lowest rate.
    """

    table: str
    rows: int
    row_bytes: int
    keys: Keys
    times: NDArray[np.uint64]
    halvings: int
    seen: int
    batches: int
    dropped: int

    @property
    def rate(self) -> float:
        """Share of the keys that were sampled, 2⁻³²..1."""
        return 2.0**-self.halvings

    @property
    def first_time(self) -> int:
        """The access from which on the sample is complete."""
        return int(self.times[0]) if self.dropped else 0


class AccessLog:
    """Records look-ups of one table; one thread at a time may call it.

    A key costs 2 ns, and up to 3.5 while every key is sampled. Halving the rate takes some ms, at
    most 32 times in a log's life.

    Args:
        table: its name.
        rows: rows it has, ≥ 0.
        row_bytes: bytes of one of them.
        capacity: sampled accesses held at most, ≥ 1; 16 bytes each.
        keys_min: keys of the table to be sampled at the lowest rate, ≥ 1.

    Raises:
        ValueError: capacity or keys_min is out of bounds.
    """

    def __init__(
        self,
        table: str,
        rows: int,
        row_bytes: int,
        capacity: int = CAPACITY,
        keys_min: int = SAMPLED_KEYS_MIN,
    ) -> None:
        if capacity < 1 or keys_min < 1:
            raise ValueError(
                f"access log of {table!r}: capacity {capacity} and keys_min {keys_min} must be ≥ 1"
            )
        self._table, self._rows, self._row_bytes = table, rows, row_bytes
        self._ring = np.zeros(capacity, dtype=np.uint64)
        self._times = np.zeros(capacity, dtype=np.uint64)
        self._halvings_max = min(max(rows // keys_min, 1).bit_length() - 1, HALVINGS_MAX)
        self._clear()

    def _clear(self) -> None:
        self._halvings = self._seen = self._batches = self._written = 0

    def record(self, keys: Keys) -> None:
        """Count one access of every key (uint64[n], C-contiguous), and keep the sampled ones."""
        start = 0
        while start < len(keys):
            start, self._written = record_keys(
                keys,
                start,
                np.uint64(_ALL >> self._halvings),
                self._halvings == self._halvings_max,
                np.uint64(self._seen),
                self._ring,
                self._times,
                self._written,
            )
            if start < len(keys):
                self._halve()
        self._seen += len(keys)
        self._batches += 1 if len(keys) else 0

    def _halve(self) -> None:
        """Nothing was overwritten before the lowest rate, so the ring is in order from its head."""
        self._halvings += 1
        last = np.uint64(_ALL >> self._halvings)
        self._written = keep_sampled(last, self._ring, self._times, self._written)

    def snapshot(self) -> AccessSample:
        """A copy of what is held."""
        dropped = max(0, self._written - len(self._ring))
        places = np.arange(dropped, self._written) % len(self._ring)
        return AccessSample(
            self._table,
            self._rows,
            self._row_bytes,
            self._ring[places],
            self._times[places],
            self._halvings,
            self._seen,
            self._batches,
            dropped,
        )

    def drain(self) -> AccessSample:
        """As `snapshot`, and begin anew."""
        sample = self.snapshot()
        self._clear()
        return sample


def save_sample(sample: AccessSample, path: Path) -> None:
    """Write an NPZ file, whole or not at all; its folder is made if need be.

    Raises:
        StoreError: it cannot be written.
    """
    packed = io.BytesIO()
    np.savez(
        packed,
        table=np.array(sample.table),
        keys=sample.keys,
        times=sample.times,
        numbers=np.array([getattr(sample, name) for name in _NUMBERS], dtype=np.int64),
    )
    draft = path.with_name(f"{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(packed.getvalue())
        os.replace(draft, path)
    except OSError as err:
        raise StoreError(f"access log {path} cannot be written: {err}") from err


_NUMBERS = ("rows", "row_bytes", "halvings", "seen", "batches", "dropped")


def load_sample(path: Path) -> AccessSample:
    """Read what `save_sample` wrote.

    Raises:
        StoreError: it is not there, or no such file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            table = str(archive["table"])
            keys, times = archive["keys"], archive["times"]
            numbers = dict(zip(_NUMBERS, map(int, archive["numbers"]), strict=True))
        _check(keys, times, **numbers)
    except (*NPZ_ERRORS, KeyError, TypeError) as err:
        raise StoreError(
            f"access log {path} cannot be read: {err}; serve with access_log: true to get another"
        ) from err
    return AccessSample(table, keys=keys, times=times, **numbers)


def _check(
    keys: Keys,
    times: NDArray[np.uint64],
    rows: int,
    row_bytes: int,
    halvings: int,
    seen: int,
    batches: int,
    dropped: int,
) -> None:
    arrays = keys.dtype == times.dtype == np.uint64 and keys.ndim == 1 and keys.shape == times.shape
    numbers = 0 <= halvings <= HALVINGS_MAX and min(rows, dropped) >= 0 and row_bytes > 0
    counts = 0 < batches <= seen or batches == seen == 0
    order = arrays and bool((times[:-1] < times[1:]).all()) and (times < seen).all()
    if not (arrays and numbers and counts and order):
        raise ValueError("its arrays do not agree; it was not written by SEDP")
