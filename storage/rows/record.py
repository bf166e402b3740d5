"""The record: how a row lies in the cold tiers, so that damage and mix-ups are seen.

    row bytes | epoch, uint32 | checksum, uint32        (little-endian, no padding)

The checksum covers the table version's own random seed, the key, the row and the epoch. A flipped
bit, a row filed under another key, and a row left over from another import are all refused. LMDB
itself notices almost none of these. The epoch says which write a row is from: 0 is the import, and
every group of online updates has the next number, modulo 2³².
"""

from __future__ import annotations

import numpy as np

from sedp.kernel import inlined, kernel
from sedp.storage.rows.checksum import checksum
from sedp.storage.rows.intrinsics import copy_bytes, load_half
from sedp.storage.tier import Keys, Mask, Rows

EPOCH_BYTES = 4
TRAILER_BYTES = EPOCH_BYTES + 4
EPOCHS = 1 << 32


@inlined
def is_whole(seed: np.uint64, key: np.uint64, record: np.uint64, row_bytes: int) -> bool:
    """Whether the record at an address holds a row of this key, undamaged."""
    covered = row_bytes + EPOCH_BYTES
    return bool(load_half(record + np.uint64(covered)) == checksum(seed, key, record, covered))


@kernel(
    "void(Array(uint64, 1, 'C', readonly=True), Array(uint8, 2, 'C', readonly=True),"
    " uint32, uint64, uint8[:, ::1])"
)
def seal_rows(keys: Keys, rows: Rows, epoch: int, seed: int, records: Rows) -> None:
    """Write the records of `rows`; `records` is uint8[n, row_bytes + 8]."""
    row_bytes = rows.shape[1]
    covered = row_bytes + EPOCH_BYTES
    for i in range(keys.size):
        record = np.uint64(records[i].ctypes.data)
        copy_bytes(record, np.uint64(rows[i].ctypes.data), np.uint64(row_bytes))
        for place in range(EPOCH_BYTES):
            records[i, row_bytes + place] = (epoch >> (8 * place)) & 0xFF
        check = checksum(np.uint64(seed), keys[i], record, covered)
        for place in range(4):
            records[i, covered + place] = (check >> np.uint32(8 * place)) & np.uint32(0xFF)


@kernel(
    "int64(Array(uint64, 1, 'C', readonly=True), Array(uint64, 1, 'C', readonly=True),"
    " Array(uint8, 2, 'C', readonly=True), uint64, uint8[:, ::1], boolean[::1])"
)
def unseal_rows(
    keys: Keys, found: Keys, records: Rows, seed: int, rows: Rows, missing: Mask
) -> int:
    """Align `records` (of the keys `found`, a subsequence of `keys`) with `keys`, and check them.

    A record that fails its check leaves its key missing. Returns how many failed.
    """
    row_bytes = rows.shape[1]
    at = 0
    corrupt = 0
    for i in range(keys.size):
        missing[i] = True
        if at == found.size or found[at] != keys[i]:
            continue
        record = np.uint64(records[at].ctypes.data)
        at += 1
        if not is_whole(np.uint64(seed), keys[i], record, row_bytes):
            corrupt += 1
            continue
        copy_bytes(np.uint64(rows[i].ctypes.data), record, np.uint64(row_bytes))
        missing[i] = False
    return corrupt


def seal(keys: Keys, rows: Rows, epoch: int, seed: int) -> Rows:
    """uint8[n, row_bytes + 8] records of uint8[n, row_bytes] rows; row_bytes divides by 4."""
    records = np.empty((len(keys), rows.shape[1] + TRAILER_BYTES), dtype=np.uint8)
    seal_rows(keys, rows, epoch % EPOCHS, seed, records)
    return records


def unseal(
    keys: Keys, found: Keys, records: bytes | Rows, seed: int, rows: Rows, missing: Mask
) -> int:
    """Check the joined `records` of the keys `found`, and write those that hold into `rows`.

    Args:
        keys: uint64[n].
        found: uint64[m], the keys of the records, a subsequence of `keys`.
        records: m records end to end, or uint8[m, row_bytes + 8].
        rows: uint8[n, row_bytes].
        missing: bool[n], written in full.

    Returns:
        How many records failed their check; their keys are left missing.
    """
    table = np.frombuffer(records, dtype=np.uint8)
    table = table.reshape(len(found), rows.shape[1] + TRAILER_BYTES)
    corrupt: int = unseal_rows(keys, found, table, seed, rows, missing)
    return corrupt
