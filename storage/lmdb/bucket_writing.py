"""Making the values of buckets: in bulk from sorted rows, and row by row into copies of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.lmdb.bucket_search import (
    CLOSED,
    FREE,
    NOWHERE,
    find,
    free_slot,
    key_at,
    slot_address,
    tag_of,
)
from sedp.storage.rows.intrinsics import as_index, copy_bytes, load_word
from sedp.storage.rows.keys import mix
from sedp.storage.tier import Keys, Rows

Heat = NDArray[np.uint8]
Positions = NDArray[np.int64]


@kernel("void(uint8[:, ::1], int64, int64, int64, boolean)")
def clear_buckets(
    values: Rows, slots: int, tag_bytes: int, slot_bytes: int, is_dense: bool
) -> None:
    """Make buckets without rows of `values`, uint8[m, value_bytes]."""
    values[:] = FREE
    values[:, slots:tag_bytes] = CLOSED
    if is_dense:
        for at in range(values.shape[0]):
            for slot in range(slots):
                start = tag_bytes + slot * slot_bytes
                values[at, start : start + 8] = 0xFF


@inlined
def _write(
    values: Rows,
    at: int,
    tag_bytes: int,
    slot_bytes: int,
    slot: int,
    keys: Keys,
    records: Rows,
    i: int,
) -> None:
    place = mix(keys[i])
    values[at, slot] = np.uint8(tag_of(place))
    target = slot_address(np.uint64(values[at].ctypes.data), tag_bytes, slot_bytes, slot)
    copy_bytes(target, np.uint64(keys[i:].ctypes.data), np.uint64(8))
    source = np.uint64(records[i].ctypes.data)
    copy_bytes(target + np.uint64(8), source, np.uint64(records.shape[1]))


@inlined
def _slot_for(
    values: Rows,
    at: int,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    key: np.uint64,
) -> int:
    """The slot a key has or may take without putting another out; -1 if there is none."""
    if is_dense:
        return as_index(key % np.uint64(slots))
    bucket = np.uint64(values[at].ctypes.data)
    slot = find(bucket, slots, tag_bytes, slot_bytes, mix(key), key)
    return slot if slot >= 0 else free_slot(bucket, slots, tag_bytes, mix(key))


@kernel(
    "int64(Array(uint64, 1, 'C', readonly=True), Array(uint8, 2, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), int64, int64, int64, boolean, uint8[:, ::1])"
)
def fill_buckets(
    keys: Keys,
    records: Rows,
    buckets: Positions,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    values: Rows,
) -> int:
    """Put distinct new rows into buckets; returns how many found no slot.

    Args:
        keys: uint64[n].
        records: uint8[n, record_bytes].
        buckets: int64[n], where in `values` the bucket of every row is.
        values: uint8[m, value_bytes].
    """
    left = 0
    for i in range(keys.size):
        slot = NOWHERE
        if is_dense:
            slot = as_index(keys[i] % np.uint64(slots))
        else:
            bucket = np.uint64(values[buckets[i]].ctypes.data)
            slot = free_slot(bucket, slots, tag_bytes, mix(keys[i]))
        if slot < 0:
            left += 1
        else:
            _write(values, buckets[i], tag_bytes, slot_bytes, slot, keys, records, i)
    return left


@inlined
def _is_sound(values: Rows, at: int, slots: int, tag_bytes: int, slot_bytes: int) -> bool:
    """Whether a search finds each row of a hashed bucket, and free slots were never used."""
    bucket = np.uint64(values[at].ctypes.data)
    for slot in range(slots, tag_bytes):
        if values[at, slot] != CLOSED:
            return False
    for slot in range(slots):
        key = key_at(bucket, tag_bytes, slot_bytes, slot)
        if values[at, slot] == FREE:
            trailer = slot_address(bucket, tag_bytes, slot_bytes, slot + 1) - np.uint64(8)
            if key | load_word(trailer):
                return False
        elif find(bucket, slots, tag_bytes, slot_bytes, mix(key), key) != slot:
            return False
    return True


@kernel("int64(int64, int64, int64, uint8[:, ::1])")
def clear_unsound(slots: int, tag_bytes: int, slot_bytes: int, values: Rows) -> int:
    """Empty the hashed buckets whose tags are damaged; returns how many rows they had.

    A row that a search misses now may be found again once others have moved: by then it is old.
    """
    cleared = 0
    for at in range(values.shape[0]):
        if not _is_sound(values, at, slots, tag_bytes, slot_bytes):
            for slot in range(slots):
                cleared += values[at, slot] > CLOSED
            values[at] = FREE
            values[at, slots:tag_bytes] = CLOSED
    return cleared


@inlined
def _coldest(heat: Heat, at: int, slots: int) -> int:
    slot = 0
    for other in range(1, slots):
        slot = other if heat[at, other] < heat[at, slot] else slot
    return slot


@kernel(
    "UniTuple(int64, 3)(Array(uint64, 1, 'C', readonly=True),"
    " Array(uint8, 2, 'C', readonly=True), Array(int64, 1, 'C', readonly=True),"
    " Array(uint8, 1, 'C', readonly=True), int64, int64, int64, boolean,"
    " uint8[:, ::1], uint8[:, ::1])"
)
def merge_rows(
    keys: Keys,
    records: Rows,
    buckets: Positions,
    warmth: Heat,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    values: Rows,
    heat: Heat,
) -> tuple[int, int, int]:
    """Put rows into buckets, over the row of the same key, else into a free slot, else over the
    coldest row of the bucket if that is colder.

    Args:
        warmth: uint8[n], of the rows to put.
        heat: uint8[m, slots], of the rows that are there; follows what is put.

    Returns:
        How many rows were added to those there, put out, and refused.
    """
    added = evicted = refused = 0
    for i in range(keys.size):
        at = buckets[i]
        slot = _slot_for(values, at, slots, tag_bytes, slot_bytes, is_dense, keys[i])
        if slot >= 0:
            added += values[at, slot] == FREE
        else:
            slot = _coldest(heat, at, slots)
            if heat[at, slot] >= warmth[i]:
                refused += 1
                continue
            evicted += 1
        _write(values, at, tag_bytes, slot_bytes, slot, keys, records, i)
        heat[at, slot] = warmth[i]
    return added, evicted, refused


@inlined
def _is_home(
    value: np.uint64,
    bucket: int,
    buckets: int,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    slot: int,
    key: np.uint64,
) -> bool:
    """Whether a look-up of the key would read this slot of this bucket."""
    if is_dense:
        return bool(key == np.uint64(bucket) * np.uint64(slots) + np.uint64(slot))
    place = mix(key)
    if ((place >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32) != np.uint64(bucket):
        return False
    return find(value, slots, tag_bytes, slot_bytes, place, key) == slot


@kernel(
    "UniTuple(int64, 2)(Array(uint8, 2, 'C', readonly=True), int64, int64, int64, int64, int64,"
    " boolean, uint64[::1], uint8[:, ::1])"
)
def list_rows(
    values: Rows,
    first: int,
    buckets: int,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    keys: Keys,
    records: Rows,
) -> tuple[int, int]:
    """Copy all keys and records that look-ups may find in buckets, slot by slot.

    Args:
        first: which of the `buckets` of the table `values` begins with.
        keys: uint64[m * slots].
        records: uint8[m * slots, record_bytes].

    Returns:
        How many these are; and how many rows are where no look-up finds them, as damage leaves
        them, and may be old.
    """
    count = misplaced = 0
    for at in range(values.shape[0]):
        value = np.uint64(values[at].ctypes.data)
        for slot in range(slots):
            if values[at, slot] <= CLOSED:
                continue
            source = slot_address(value, tag_bytes, slot_bytes, slot)
            key = load_word(source)
            if not _is_home(
                value, first + at, buckets, slots, tag_bytes, slot_bytes, is_dense, slot, key
            ):
                misplaced += 1
                continue
            keys[count] = key
            target = np.uint64(records[count].ctypes.data)
            copy_bytes(target, source + np.uint64(8), np.uint64(records.shape[1]))
            count += 1
    return count, misplaced


@kernel("uint64[::1](Array(uint8, 2, 'C', readonly=True), int64, int64, int64)")
def list_keys(values: Rows, slots: int, tag_bytes: int, slot_bytes: int) -> Keys:
    """The key of every slot, uint64[m * slots]; of a free one, anything."""
    keys = np.empty(values.shape[0] * slots, dtype=np.uint64)
    for at in range(values.shape[0]):
        first = np.uint64(values[at].ctypes.data)
        for slot in range(slots):
            keys[at * slots + slot] = key_at(first, tag_bytes, slot_bytes, slot)
    return keys
