"""The loops of the RAM tier over batches: a set-associative table, one cache line a set.

A key lives in the first of `reach` sets, from its home set on, that had room. A *whole* table has
room for all rows and evicts nothing. A cache (it has histories, and a reach of two) puts out the
key worth least in both sets, or does not take the new one.
Only `get_rows` may run beside others; see `line` on how it tells a row that is being written.
Of a whole table it writes nothing there, so that the table may be another process's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.ram.history import Histories, Odds, admit, ask_for_histories
from sedp.storage.ram.line import (
    EMPTY,
    LINE_BYTES,
    VACATED,
    WAYS,
    Lines,
    begin_change,
    end_change,
    free_slot,
    home_of,
    is_changing,
    is_key,
    is_unchanged,
    line_of,
    set_after,
    slot_of,
    touch,
    version_of,
    way_of,
)
from sedp.storage.rows.intrinsics import copy_row, prefetch
from sedp.storage.rows.keys import mix
from sedp.storage.tier import Keys, Mask, Rows

Slots = NDArray[np.int64]

CACHE_REACH = 2  # sets a key may be in: a full cache searches them all for every key it has not
RESIDENT_REACH = 1024  # with 8 places for 7 rows, 105 full sets in line among 2 million rows
LEAD = 16  # keys between two stations; as many cache misses as a core tracks at once
_RING = 2 * LEAD
_PREFETCHES_MAX = 16  # lines of one row; the processor sees by itself that more will follow


@inlined
def _ask_for_lines(lines: Lines, home: int) -> None:
    """Of both sets that most keys are in; the one past the end is harmless."""
    prefetch(line_of(lines, home))
    prefetch(line_of(lines, home + 1))


@inlined
def row_at(rows: Rows, slot: int) -> np.uint64:
    """Its address."""
    return np.uint64(rows.ctypes.data) + np.uint64(slot) * np.uint64(rows.shape[1])


@inlined
def _ask_for_row(row: np.uint64, row_bytes: int) -> None:
    prefetch(row)
    if row_bytes > LINE_BYTES:
        for line in range(1, min(row_bytes // LINE_BYTES, _PREFETCHES_MAX)):
            prefetch(row + np.uint64(line * LINE_BYTES))
    if row_bytes % LINE_BYTES:
        prefetch(row + np.uint64(row_bytes - 1))  # it may end in one line more


@inlined
def _find(lines: Lines, home: int, key: np.uint64, reach: int) -> tuple[int, np.uint64]:
    """The slot of a key, or -1, and the version its set had before; a cache notes the hit."""
    at, line = home, line_of(lines, home)
    version, way, passed = version_of(line), way_of(line, key), 1
    while way == WAYS and passed < reach and lines[at, WAYS - 1] != EMPTY:
        at = set_after(at, lines.shape[0])
        line = line_of(lines, at)
        version, way = version_of(line), way_of(line, key)
        passed += 1
    if way < WAYS and is_key(key):
        if reach <= CACHE_REACH:
            touch(line, way)
        return at * WAYS + way, version
    return -1, version


@kernel(
    "UniTuple(int64, 2)(Array(uint64, 2, 'C', readonly=True), Array(uint8, 2, 'C', readonly=True),"
    " int64, Array(uint64, 1, 'C', readonly=True), uint8[:, ::1], boolean[::1])"
)
def get_rows(
    lines: Lines, rows: Rows, reach: int, keys: Keys, out: Rows, missing: Mask
) -> tuple[int, int]:
    """Copy the rows of held keys to `out`, mark the others.

    Every key passes three stations, each of which asks the memory for what the next one reads. At
    any time keys are between all of them, so that the memory is never waited for, nor idle.

    Returns:
        How many are missing, and how many of these only because a writer was at their set.
    """
    sets, row_bytes = lines.shape[0], rows.shape[1]
    if sets == 0:
        missing[:] = True
        return keys.size, 0
    slots, versions = np.empty(_RING, dtype=np.int64), np.empty(_RING, dtype=np.uint64)
    missing_count = conflicts = 0
    for i in range(keys.size + _RING):
        done = i - _RING
        if done >= 0:
            slot = slots[done % _RING]
            is_held = slot >= 0
            if is_held:
                copy_row(row_at(out, done), row_at(rows, slot), row_bytes)
                is_held = is_unchanged(line_of(lines, slot // WAYS), versions[done % _RING])
                conflicts += not is_held
            missing[done] = not is_held
            missing_count += not is_held
        found = i - LEAD
        if 0 <= found < keys.size:
            slot, version = _find(lines, slots[found % _RING], keys[found], reach)
            slots[found % _RING], versions[found % _RING] = slot, version
            if slot >= 0:
                _ask_for_row(row_at(rows, slot), row_bytes)
        if i < keys.size:
            home = home_of(mix(keys[i]), sets)
            slots[i % _RING] = home
            _ask_for_lines(lines, home)
    return missing_count, conflicts


@inlined
def _claim(lines: Lines, slot: int, key: np.uint64) -> None:
    """Put a key into a slot, whatever it held; its set is being changed until `_publish`."""
    line = line_of(lines, slot // WAYS)
    if not is_changing(line):
        begin_change(line)
    lines[slot // WAYS, slot % WAYS] = key


@inlined
def _publish(lines: Lines, rows: Rows, slots: Slots, new_rows: Rows, start: int) -> None:
    """Copy the rows from `start` on into the slots their keys claimed (-1 for none).

    Each slot is in some other cache line, which the memory was asked for when it was claimed.
    """
    for i in range(slots.size):
        if slots[i] >= 0:
            copy_row(row_at(rows, slots[i]), row_at(new_rows, start + i), rows.shape[1])
    for i in range(slots.size):
        line = line_of(lines, max(slots[i], 0) // WAYS)
        if slots[i] >= 0 and is_changing(line):
            end_change(line)


@kernel(
    "int64(uint64[:, ::1], uint8[:, ::1], uint16[:, ::1], float32[:, ::1], int64,"
    " Array(uint64, 1, 'C', readonly=True), Array(uint8, 2, 'C', readonly=True))"
)
def put_rows(
    lines: Lines,
    rows: Rows,
    histories: Histories,
    odds: Odds,
    reach: int,
    keys: Keys,
    new_rows: Rows,
) -> int:
    """Insert rows that were missing, where there is room or one worth less; returns the growth."""
    sets, is_cache, grown = lines.shape[0], histories.shape[0] > 0, 0
    if sets == 0:
        return 0
    slots = np.empty(LEAD, dtype=np.int64)
    for start in range(0, keys.size, LEAD):
        count = min(LEAD, keys.size - start)
        for i in range(count):
            home = home_of(mix(keys[start + i]), sets)
            _ask_for_lines(lines, home)
            if is_cache:
                ask_for_histories(histories, home)
        for i in range(count):
            key, home = keys[start + i], home_of(mix(keys[start + i]), sets)
            slot = slot_of(lines, home, key, reach)
            if slot < 0 and is_key(key):
                if is_cache:
                    slot = admit(lines, histories, odds, key)
                else:
                    slot = free_slot(lines, home, reach)
                grown += slot >= 0 and not is_key(lines[slot // WAYS, slot % WAYS])
            slots[i] = slot
            if slot >= 0:
                _claim(lines, slot, key)
                _ask_for_row(row_at(rows, slot), rows.shape[1])
        _publish(lines, rows, slots[:count], new_rows, start)
    return grown


@kernel(
    "UniTuple(int64, 2)(uint64[:, ::1], uint8[:, ::1], int64, boolean,"
    " Array(uint64, 1, 'C', readonly=True), Array(uint8, 2, 'C', readonly=True))"
)
def replace_rows(
    lines: Lines, rows: Rows, reach: int, is_whole: bool, keys: Keys, new_rows: Rows
) -> tuple[int, int]:
    """Overwrite held rows; a whole table takes the others too.

    Returns:
        How many of these rows are held now, and by how many the table grew.
    """
    sets, held, grown = lines.shape[0], 0, 0
    if sets == 0:
        return 0, 0
    slots = np.empty(1, dtype=np.int64)
    for i in range(keys.size):
        home = home_of(mix(keys[i]), sets)
        slot = slot_of(lines, home, keys[i], reach)
        if slot < 0 and is_whole and is_key(keys[i]):
            slot = free_slot(lines, home, reach)
            grown += slot >= 0
        if slot >= 0:
            _claim(lines, slot, keys[i])
            slots[0] = slot
            _publish(lines, rows, slots, new_rows, i)
            held += 1
    return held, grown


@kernel("int64(uint64[:, ::1], uint16[:, ::1], int64, Array(uint64, 1, 'C', readonly=True))")
def forget_rows(lines: Lines, histories: Histories, reach: int, keys: Keys) -> int:
    """Let go of keys; returns how many were held."""
    sets, held = lines.shape[0], 0
    if sets == 0:
        return 0
    for i in range(keys.size):
        slot = slot_of(lines, home_of(mix(keys[i]), sets), keys[i], reach)
        if slot >= 0:
            at, way = slot // WAYS, slot % WAYS
            begin_change(line_of(lines, at))
            lines[at, way] = VACATED
            end_change(line_of(lines, at))
            if histories.shape[0]:
                histories[at, way] = 0
            held += 1
    return held
