"""Look-up in buckets by their addresses, for file formats whose pages cannot be read in place.

A plain loop: this way is for files that a newer LMDB has made, not for speed.
"""

from __future__ import annotations

import numpy as np

from sedp.kernel import kernel
from sedp.storage.lmdb.bucket_reading import Positions, bucket_number, place_of, take
from sedp.storage.lmdb.bucket_search import NOWHERE, find, slot_address
from sedp.storage.lmdb.pages import Addresses
from sedp.storage.rows.intrinsics import as_index, load_word
from sedp.storage.tier import Keys, Mask, Rows


@kernel(
    "UniTuple(int64, 2)(Array(uint64, 1, 'C', readonly=True), int64, int64, int64, boolean,"
    " uint64, Array(uint64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True),"
    " uint8[:, ::1], boolean[::1], int64[::1])"
)
def read_rows_at(
    addresses: Addresses,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    seed: int,
    keys: Keys,
    wanted: Positions,
    out: Rows,
    missing: Mask,
    found: Positions,
) -> tuple[int, int]:
    """As `read_rows`; `addresses` is uint64[buckets], 0 where there is none."""
    held = corrupt = 0
    for position in wanted:
        key = keys[position]
        place = place_of(key, is_dense)
        number = bucket_number(place, addresses.size, slots, is_dense)
        bucket = addresses[number] if number < np.uint64(addresses.size) else np.uint64(0)
        if not bucket:
            continue
        if is_dense:
            slot = as_index(place - number * np.uint64(slots))
            if load_word(slot_address(bucket, tag_bytes, slot_bytes, slot)) != key:
                continue
        else:
            slot = find(bucket, slots, tag_bytes, slot_bytes, place, key)
            if slot == NOWHERE:
                continue
        slot_at = slot_address(bucket, tag_bytes, slot_bytes, slot)
        row_at = np.uint64(out.ctypes.data) + np.uint64(position) * np.uint64(out.shape[1])
        if take(np.uint64(seed), key, slot_at, row_at, out.shape[1]):
            missing[position] = False
            found[held] = position
            held += 1
        else:
            corrupt += 1
    return held, corrupt
