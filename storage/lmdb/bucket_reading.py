"""Look-up in buckets where they lie.

Every key passes stations, each of which asks the memory for what the next one reads: in a hashed
table the number of the page, the line of the tags, the lines of the slot; in a dense one, whose few
page numbers stay at hand, only the slot. On the way it asks for where its row is to go, since
stores to lines that are not at hand wait for each other. Keys are between all stations at any time,
so that the memory is never waited for, nor idle. A slot whose key fits and whose checksum does not
leaves its key missing: the truth is asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.lmdb.bucket_search import NOWHERE, find, guess, home_tags, key_at, slot_address
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES
from sedp.storage.rows.intrinsics import as_index, copy_row, load_word, prefetch
from sedp.storage.rows.keys import mix
from sedp.storage.rows.record import is_whole
from sedp.storage.tier import Keys, Mask, Rows

LEAD = 16  # keys between two stations: about as long as memory takes to answer
_SPAN = 3 * LEAD  # between a hashed key's first station and its last
_RING = 4 * LEAD  # a power of two, which makes a remainder of it cheap
_LINE_BYTES = 64
_PAGE_NUMBER_BYTES = 4
_KEY_BYTES = 8  # of a slot, before the record

PageNumbers = NDArray[np.uint32]
Positions = NDArray[np.int64]


@inlined
def _ask_for_lines(first: np.uint64, count: int) -> None:
    """For all that `count` bytes are in."""
    line, end = first, first + np.uint64(count)
    while line < end:
        prefetch(line)
        line = (line & ~np.uint64(_LINE_BYTES - 1)) + np.uint64(_LINE_BYTES)


@inlined
def place_of(key: np.uint64, is_dense: bool) -> np.uint64:
    return key if is_dense else mix(key)


@inlined
def bucket_number(place: np.uint64, buckets: int, slots: int, is_dense: bool) -> np.uint64:
    """Of the bucket that a place is in; `buckets` or more for one that a dense table lacks."""
    if is_dense:
        return place // np.uint64(slots)
    return ((place >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32)


@inlined
def _ask_for_page_number(pages: PageNumbers, place: np.uint64) -> None:
    number = bucket_number(place, pages.size, 0, False)
    prefetch(np.uint64(pages.ctypes.data) + np.uint64(_PAGE_NUMBER_BYTES) * number)


@inlined
def _locate(
    pages: PageNumbers, base: np.uint64, slots: int, is_dense: bool, place: np.uint64
) -> tuple[np.uint64, int]:
    """Address of the bucket of a place, 0 if it has none; and the slot in a dense table."""
    number = bucket_number(place, pages.size, slots, is_dense)
    slot = as_index(place - number * np.uint64(slots)) if is_dense else NOWHERE
    page = np.uint64(pages[number]) if number < np.uint64(pages.size) else np.uint64(0)
    if page:
        page = base + page * np.uint64(PAGE_BYTES) + np.uint64(HEADER_BYTES)
    return page, slot


@inlined
def _slot_of(
    bucket: np.uint64,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    likely: int,
    key: np.uint64,
    place: np.uint64,
) -> int:
    """The slot of a key in its hashed bucket, -1 if it is not there or has no bucket."""
    if not bucket:
        return NOWHERE
    if 0 <= likely < slots and key_at(bucket, tag_bytes, slot_bytes, likely) == key:
        return likely
    return find(bucket, slots, tag_bytes, slot_bytes, place, key)


@inlined
def take(seed: np.uint64, key: np.uint64, slot: np.uint64, out: np.uint64, row_bytes: int) -> bool:
    """Copy the row in the slot at an address; False if it is damaged."""
    record = slot + np.uint64(_KEY_BYTES)
    if not is_whole(seed, key, record, row_bytes):
        return False
    copy_row(out, record, row_bytes)
    return True


@inlined
def _read_dense(
    pages: PageNumbers,
    base: np.uint64,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    seed: np.uint64,
    keys: Keys,
    wanted: Positions,
    out: Rows,
    missing: Mask,
    found: Positions,
) -> tuple[int, int]:
    """`read_rows` where the key says the slot."""
    out_base, row_bytes = np.uint64(out.ctypes.data), np.uint64(out.shape[1])
    addresses = np.empty(LEAD, dtype=np.uint64)  # of slots asked for; 0: it has no bucket
    held = corrupt = 0
    for i in range(wanted.size + LEAD):
        at = i & (LEAD - 1)
        if i >= LEAD and addresses[at]:
            position = wanted[i - LEAD]
            key, slot_at = keys[position], addresses[at]
            if load_word(slot_at) == key:
                row_at = out_base + np.uint64(position) * row_bytes
                if take(seed, key, slot_at, row_at, out.shape[1]):
                    missing[position] = False
                    found[held] = position
                    held += 1
                else:
                    corrupt += 1
        if i < wanted.size:
            position = wanted[i]
            slot_at, slot = _locate(pages, base, slots, True, keys[position])
            if slot_at:
                slot_at = slot_address(slot_at, tag_bytes, slot_bytes, slot)
                _ask_for_lines(slot_at, slot_bytes)
                _ask_for_lines(out_base + np.uint64(position) * row_bytes, out.shape[1])
            addresses[at] = slot_at
    return held, corrupt


@inlined
def _read_hashed(
    pages: PageNumbers,
    base: np.uint64,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    seed: np.uint64,
    keys: Keys,
    wanted: Positions,
    out: Rows,
    missing: Mask,
    found: Positions,
) -> tuple[int, int]:
    """`read_rows` where tags have to be searched."""
    out_base, row_bytes = np.uint64(out.ctypes.data), np.uint64(out.shape[1])
    buckets, places = np.empty(_RING, dtype=np.uint64), np.empty(_RING, dtype=np.uint64)
    guesses = np.empty(_RING, dtype=np.int64)
    held = corrupt = 0
    for i in range(wanted.size + _SPAN):
        done, tagged, placed = i - _SPAN, i - 2 * LEAD, i - LEAD
        if done >= 0:
            position, at = wanted[done], done % _RING
            key, bucket = keys[position], buckets[at]
            slot = _slot_of(bucket, slots, tag_bytes, slot_bytes, guesses[at], key, places[at])
            if slot >= 0:
                slot_at = slot_address(bucket, tag_bytes, slot_bytes, slot)
                row_at = out_base + np.uint64(position) * row_bytes
                if take(seed, key, slot_at, row_at, out.shape[1]):
                    missing[position] = False
                    found[held] = position
                    held += 1
                else:
                    corrupt += 1
        if 0 <= tagged < wanted.size and buckets[tagged % _RING]:
            at = tagged % _RING
            guesses[at] = guess(buckets[at], slots, tag_bytes, places[at])
            if guesses[at] >= 0:
                slot_at = slot_address(buckets[at], tag_bytes, slot_bytes, guesses[at])
                _ask_for_lines(slot_at, slot_bytes)
        if 0 <= placed < wanted.size:
            at = placed % _RING
            _ask_for_lines(out_base + np.uint64(wanted[placed]) * row_bytes, out.shape[1])
            buckets[at], guesses[at] = _locate(pages, base, slots, False, places[at])
            if buckets[at]:
                prefetch(home_tags(buckets[at], slots, places[at]))
        if i < wanted.size:
            places[i % _RING] = mix(keys[wanted[i]])
            _ask_for_page_number(pages, places[i % _RING])
    return held, corrupt


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
        place = place_of(key, is_dense)
        bucket, slot = _locate(pages, np.uint64(base), slots, is_dense, place)
        if not bucket:
            continue
        start, size = bucket, np.uint64(1)
        if with_slots:
            if not is_dense:
                slot = guess(bucket, slots, tag_bytes, place)
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
    if is_dense:
        return _read_dense(
            pages,
            np.uint64(base),
            slots,
            tag_bytes,
            slot_bytes,
            np.uint64(seed),
            keys,
            wanted,
            out,
            missing,
            found,
        )
    return _read_hashed(
        pages,
        np.uint64(base),
        slots,
        tag_bytes,
        slot_bytes,
        np.uint64(seed),
        keys,
        wanted,
        out,
        missing,
        found,
    )
