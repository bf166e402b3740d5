"""Look-up in buckets where they lie.

Three passes over short chunks, each asking the memory early for what the next one reads: the line
of the tags, the lines of the slot, the row. A slot whose key fits and whose checksum does not
leaves its key missing: the truth is asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.storage.bucket import HEADER_BYTES, PAGE_BYTES
from sedp.storage.bucket_search import NOWHERE, find, guess, key_at, slot_address
from sedp.storage.intrinsics import as_index, copy_row, prefetch
from sedp.storage.kernel import inlined, kernel
from sedp.storage.keys import mix
from sedp.storage.row_format import is_whole
from sedp.storage.tier import Keys, Mask, Rows

CHUNK = 32  # keys in flight
_LINE_BYTES = 64

PageNumbers = NDArray[np.uint32]
Positions = NDArray[np.int64]


@inlined
def _fetch_slot(bucket: np.uint64, tag_bytes: int, slot_bytes: int, slot: int) -> None:
    first = slot_address(bucket, tag_bytes, slot_bytes, slot)
    for skip in range(0, slot_bytes, _LINE_BYTES):
        prefetch(first + np.uint64(skip))
    prefetch(first + np.uint64(slot_bytes - 1))


@inlined
def _place_of(key: np.uint64, is_dense: bool) -> np.uint64:
    return key if is_dense else mix(key)


@inlined
def _locate(
    pages: PageNumbers, base: np.uint64, slots: int, is_dense: bool, place: np.uint64
) -> tuple[np.uint64, int]:
    """Address of the bucket of a place, 0 if it has none; and the slot in a dense table."""
    buckets = np.uint64(pages.size)
    slot = NOWHERE
    if is_dense:
        at = place // np.uint64(slots)
        slot = as_index(place - at * np.uint64(slots))
    else:
        at = ((place >> np.uint64(32)) * buckets) >> np.uint64(32)
    page = np.uint64(pages[at]) if at < buckets else np.uint64(0)
    if page:
        page = base + page * np.uint64(PAGE_BYTES) + np.uint64(HEADER_BYTES)
    return page, slot


@inlined
def _slot_of(
    bucket: np.uint64,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    likely: int,
    key: np.uint64,
    place: np.uint64,
) -> int:
    """The slot of a key in its bucket, -1 if it is not there or has no bucket."""
    if not bucket:
        return NOWHERE
    if 0 <= likely < slots and key_at(bucket, tag_bytes, slot_bytes, likely) == key:
        return likely
    return NOWHERE if is_dense else find(bucket, slots, tag_bytes, slot_bytes, place, key)


@kernel(
    "int64(Array(uint32, 1, 'C', readonly=True), uint64, int64, int64, int64, boolean, boolean,"
    " Array(uint64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), uint64[:, ::1])"
)
def list_ranges(
    pages: PageNumbers,
    base: int,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    is_dense: bool,
    with_slots: bool,
    keys: Keys,
    wanted: Positions,
    ranges: Keys,
) -> int:
    """Which pages `read_rows` will read first, or with the slots, which need these, then.

    Args:
        ranges: uint64[len(wanted), 2], gets address and bytes of whole pages.

    Returns:
        How many there are.
    """
    count, inside = 0, np.uint64(PAGE_BYTES - 1)
    for position in wanted:
        key = keys[position]
        place = _place_of(key, is_dense)
        bucket, slot = _locate(pages, np.uint64(base), slots, is_dense, place)
        if not bucket:
            continue
        start, size = bucket, np.uint64(1)
        if with_slots:
            if not is_dense:
                slot = guess(bucket, tag_bytes, place)
            if not 0 <= slot < slots:
                continue
            start, size = slot_address(bucket, tag_bytes, slot_bytes, slot), np.uint64(slot_bytes)
        ranges[count, 0] = start & ~inside
        ranges[count, 1] = ((start & inside) + size + inside) & ~inside
        count += 1
    return count


@kernel(
    "UniTuple(int64, 2)(Array(uint32, 1, 'C', readonly=True), uint64, int64, int64, int64, boolean,"
    " uint64, Array(uint64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True),"
    " uint8[:, ::1], boolean[::1], int64[::1])"
)
def read_rows(
    pages: PageNumbers,
    base: int,
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
    """Copy the rows of the keys at positions `wanted` to `out`, and mark them as not missing.

    Args:
        pages: uint32[buckets], first page of every bucket; 0 if it is not there.
        base: address of page 0.
        found: int64[len(wanted)], gets the positions of the rows found.

    Returns:
        How many were found, and how many of the others are damaged.
    """
    out_base, row_bytes = np.uint64(out.ctypes.data), np.uint64(out.shape[1])
    buckets = np.empty(CHUNK, dtype=np.uint64)
    guesses = np.empty(CHUNK, dtype=np.int64)
    places = np.empty(CHUNK, dtype=np.uint64)
    held = corrupt = 0
    for start in range(0, wanted.size, CHUNK):
        count = min(CHUNK, wanted.size - start)
        for i in range(count):
            places[i] = _place_of(keys[wanted[start + i]], is_dense)
            buckets[i], guesses[i] = _locate(pages, np.uint64(base), slots, is_dense, places[i])
            if buckets[i] and is_dense:
                _fetch_slot(buckets[i], tag_bytes, slot_bytes, guesses[i])
            elif buckets[i]:
                prefetch(buckets[i])
        for i in range(0 if is_dense else count):
            if buckets[i]:
                guesses[i] = guess(buckets[i], tag_bytes, places[i])
                if guesses[i] >= 0:
                    _fetch_slot(buckets[i], tag_bytes, slot_bytes, guesses[i])
        for i in range(count):
            position, bucket = wanted[start + i], buckets[i]
            key = keys[position]
            slot = _slot_of(
                bucket, slots, tag_bytes, slot_bytes, is_dense, guesses[i], key, places[i]
            )
            if slot < 0:
                continue
            record = slot_address(bucket, tag_bytes, slot_bytes, slot) + np.uint64(8)
            if not is_whole(np.uint64(seed), key, record, out.shape[1]):
                corrupt += 1
                continue
            copy_row(out_base + np.uint64(position) * row_bytes, record, out.shape[1])
            missing[position] = False
            found[held] = position
            held += 1
    return held, corrupt
