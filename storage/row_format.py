"""The record: how a row lies in the cold tiers, so that damage and mix-ups are seen.

    row bytes | epoch, uint64 | checksum, uint32        (little-endian, no padding)

The checksum covers the table version's own random seed, the key, the row and the epoch. A flipped
bit, a row filed under another key, and a row left over from another import are all refused, each
with a chance of 2⁻³² to slip through. LMDB itself notices almost none of these. The epoch says
which write a row is from; an import stamps its version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.storage.kernel import inlined, kernel
from sedp.storage.keys import mix
from sedp.storage.tier import Keys, Mask, Rows

TRAILER_WORDS = 3
TRAILER_BYTES = 4 * TRAILER_WORDS

Words = NDArray[np.uint32]

_PRIME = np.uint64(0x9E3779B185EBCA87)  # odd, so that multiplying loses nothing


@inlined
def _checksum(seed: np.uint64, key: np.uint64, words: Words, count: int) -> np.uint32:
    state = mix(seed ^ mix(key))
    for i in range(count):
        state = (state ^ np.uint64(words[i])) * _PRIME
        state ^= state >> np.uint64(32)
    return np.uint32(mix(state) >> np.uint64(32))


@kernel(
    "void(Array(uint64, 1, 'C', readonly=True), Array(uint32, 2, 'C', readonly=True),"
    " uint64, uint64, uint32[:, ::1])"
)
def seal_words(keys: Keys, rows: Words, epoch: int, seed: int, records: Words) -> None:
    """Write the records of `rows`; `records` is uint32[n, row words + 3]."""
    width = rows.shape[1]
    for i in range(keys.size):
        record = records[i]
        for j in range(width):
            record[j] = rows[i, j]
        record[width] = np.uint32(np.uint64(epoch) & np.uint64(0xFFFFFFFF))
        record[width + 1] = np.uint32(np.uint64(epoch) >> np.uint64(32))
        record[width + 2] = _checksum(np.uint64(seed), keys[i], record, width + 2)


@kernel(
    "int64(Array(uint64, 1, 'C', readonly=True), Array(uint64, 1, 'C', readonly=True),"
    " Array(uint32, 2, 'C', readonly=True), uint64, uint32[:, ::1], boolean[::1])"
)
def unseal_words(
    keys: Keys, found: Keys, records: Words, seed: int, rows: Words, missing: Mask
) -> int:
    """Align `records` (of the keys `found`, a subsequence of `keys`) with `keys`, and check them.

    A record that fails its check leaves its key missing. Returns how many failed.
    """
    width = rows.shape[1]
    at = 0
    corrupt = 0
    for i in range(keys.size):
        missing[i] = True
        if at == found.size or found[at] != keys[i]:
            continue
        record = records[at]
        at += 1
        if record[width + 2] != _checksum(np.uint64(seed), keys[i], record, width + 2):
            corrupt += 1
            continue
        for j in range(width):
            rows[i, j] = record[j]
        missing[i] = False
    return corrupt


def seal(keys: Keys, rows: Rows, epoch: int, seed: int) -> Rows:
    """uint8[n, row_bytes + 12] records of uint8[n, row_bytes] rows; row_bytes divides by 4."""
    records = np.empty((len(keys), rows.shape[1] + TRAILER_BYTES), dtype=np.uint8)
    seal_words(keys, rows.view(np.uint32), epoch, seed, records.view(np.uint32))
    return records


def unseal(
    keys: Keys, found: Keys, records: bytes | Rows, seed: int, rows: Rows, missing: Mask
) -> int:
    """Check the joined `records` of the keys `found`, and write those that hold into `rows`.

    Args:
        keys: uint64[n].
        found: uint64[m], the keys of the records, a subsequence of `keys`.
        records: m records end to end, or uint8[m, row_bytes + 12].
        rows: uint8[n, row_bytes].
        missing: bool[n], written in full.

    Returns:
        How many records failed their check; their keys are left missing.
    """
    words = np.frombuffer(records, dtype=np.uint32)
    words = words.reshape(len(found), rows.shape[1] // 4 + TRAILER_WORDS)
    corrupt: int = unseal_words(keys, found, words, seed, rows.view(np.uint32), missing)
    return corrupt
