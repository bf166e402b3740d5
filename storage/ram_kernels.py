"""The loops of the RAM tier: a set-associative table whose sets are one cache line each.

A line is seven keys and a word of seven counters and a clock hand (one byte each). A key lives in
the first of `reach` sets, from its home set on, that had room; nothing is ever removed except to be
replaced, so a set with room ends a search. Where all were full, the home set evicts by generalised
CLOCK: a hit raises a row's counter to at most 7, the hand lowers counters until it meets a zero.
Look-ups run in three passes over short chunks (line, row, copy), each asking the memory early for
what the next one reads: one pass without that is two to three times slower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sedp.storage.kernel import inlined, kernel
from sedp.storage.keys import mix
from sedp.storage.tier import Keys, Mask, Rows

WAYS = 7
LINE_BYTES = 64
CHUNK = 32  # prefetches in flight; a core tracks 10 to 16 misses, more than 64 gains nothing

Lines = NDArray[np.uint64]

_BYTE = np.uint64(0xFF)
_COUNT_MAX = np.uint64(8)  # a counter of 7, plus one: zero says that the way is empty
_HAND = np.uint64(56)


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; harmless whatever the address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flag, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        function = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
        read, everywhere, data = flag(0), flag(3), flag(1)
        builder.call(function, [builder.inttoptr(args[0], pointer), read, everywhere, data])
        return context.get_dummy_value()

    return types.void(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy_bytes(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """`memcpy` between two addresses; the caller answers for the bounds."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, word, ir.IntType(1)])
        function = builder.module.declare_intrinsic("llvm.memcpy", (pointer, pointer, word), kind)
        pointers = [builder.inttoptr(arg, pointer) for arg in args[:2]]
        builder.call(function, [*pointers, args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


@inlined
def _signed(word: np.uint64) -> int:
    """An index; numba makes floats of signed and unsigned integers that meet."""
    index: Any = np.int64(word)
    return index  # type: ignore[no-any-return]


@inlined
def _home(key: np.uint64, sets: int) -> int:
    """The top half of the mixed key, scaled to 0..sets-1 without a division."""
    return _signed(((mix(key) >> np.uint64(32)) * np.uint64(sets)) >> np.uint64(32))


@inlined
def _way_in(lines: Lines, at: int, key: np.uint64) -> int:
    # No early exit: which way matches cannot be predicted. Downwards, because an empty way may
    # hold the bits of a key too, and ways fill upwards.
    found = -1
    for way in range(WAYS - 1, -1, -1):
        found = way if lines[at, way] == key else found
    is_live = (lines[at, WAYS] >> np.uint64(8 * found)) & _BYTE if found >= 0 else np.uint64(0)
    return found if is_live else -1


@inlined
def _is_full(lines: Lines, at: int) -> bool:
    """Ways fill from 0 up, so the last one tells."""
    return bool((lines[at, WAYS] >> np.uint64(8 * (WAYS - 1))) & _BYTE)


@inlined
def _slot_of(lines: Lines, home: int, key: np.uint64, reach: int) -> int:
    at = home
    for _ in range(reach):
        way = _way_in(lines, at, key)
        if way >= 0:
            return at * WAYS + way
        if not _is_full(lines, at):
            return -1
        at = at + 1 if at + 1 < lines.shape[0] else 0
    return -1


@inlined
def _count_hit(lines: Lines, slot: int) -> None:
    at, shift = slot // WAYS, np.uint64(8 * (slot % WAYS))
    if (lines[at, WAYS] >> shift) & _BYTE < _COUNT_MAX:
        lines[at, WAYS] += np.uint64(1) << shift


@inlined
def _empty_way(lines: Lines, at: int) -> int:
    for way in range(WAYS):
        if (lines[at, WAYS] >> np.uint64(8 * way)) & _BYTE == 0:
            return way
    return -1


@inlined
def _victim_way(lines: Lines, at: int) -> int:
    """Turn the hand until it meets a counter of zero: at most 7 rounds of 7."""
    counters = lines[at, WAYS]
    way = _signed(counters >> _HAND)
    while (counters >> np.uint64(8 * way)) & _BYTE > np.uint64(1):
        counters -= np.uint64(1) << np.uint64(8 * way)
        way = way + 1 if way + 1 < WAYS else 0
    after = way + 1 if way + 1 < WAYS else 0
    lines[at, WAYS] = (counters & ~(_BYTE << _HAND)) | (np.uint64(after) << _HAND)
    return way


@inlined
def _claim(lines: Lines, home: int, key: np.uint64, reach: int) -> tuple[int, int]:
    """The slot a new key gets, and 1 if that slot was empty."""
    at = home
    for _ in range(reach):
        way = _empty_way(lines, at)
        if way >= 0:
            lines[at, WAYS] |= np.uint64(1) << np.uint64(8 * way)
            lines[at, way] = key
            return at * WAYS + way, 1
        at = at + 1 if at + 1 < lines.shape[0] else 0
    way = _victim_way(lines, home)
    lines[home, way] = key
    return home * WAYS + way, 0


@kernel(
    "int64(uint64[:, ::1], uint8[:, ::1], int64, Array(uint64, 1, 'C', readonly=True),"
    " uint8[:, ::1], boolean[::1])"
)
def get_rows(lines: Lines, rows: Rows, reach: int, keys: Keys, out: Rows, missing: Mask) -> int:
    """Copy the rows of cached keys to `out`, mark the others; returns how many are missing."""
    sets, row_bytes = lines.shape[0], np.uint64(rows.shape[1])
    if sets == 0:
        missing[:] = True
        return keys.size
    line_base, row_base = np.uint64(lines.ctypes.data), np.uint64(rows.ctypes.data)
    out_base = np.uint64(out.ctypes.data)
    slots = np.empty(CHUNK, dtype=np.int64)
    missing_count = 0
    for start in range(0, keys.size, CHUNK):
        count = min(CHUNK, keys.size - start)
        for i in range(count):
            slots[i] = _home(keys[start + i], sets)
            prefetch(line_base + np.uint64(slots[i]) * np.uint64(LINE_BYTES))
        for i in range(count):
            slots[i] = _slot_of(lines, slots[i], keys[start + i], reach)
            missing[start + i] = slots[i] < 0
            if slots[i] < 0:
                missing_count += 1
                continue
            _count_hit(lines, slots[i])
            prefetch(row_base + np.uint64(slots[i]) * row_bytes)
            prefetch(row_base + np.uint64(slots[i] + 1) * row_bytes - np.uint64(1))
        for i in range(count):
            if slots[i] >= 0:
                source = row_base + np.uint64(slots[i]) * row_bytes
                copy_bytes(out_base + np.uint64(start + i) * row_bytes, source, row_bytes)
    return missing_count


@kernel(
    "int64(uint64[:, ::1], uint8[:, ::1], int64, Array(uint64, 1, 'C', readonly=True),"
    " Array(uint8, 2, 'C', readonly=True))"
)
def put_rows(lines: Lines, rows: Rows, reach: int, keys: Keys, new_rows: Rows) -> int:
    """Cache rows, evicting where all sets in reach are full; returns by how many rows it grew."""
    sets, row_bytes = lines.shape[0], np.uint64(rows.shape[1])
    if sets == 0:
        return 0
    row_base, source_base = np.uint64(rows.ctypes.data), np.uint64(new_rows.ctypes.data)
    grown = 0
    for i in range(keys.size):
        home = _home(keys[i], sets)
        slot = _slot_of(lines, home, keys[i], reach)
        if slot < 0:
            slot, was_empty = _claim(lines, home, keys[i], reach)
            grown += was_empty
        target = row_base + np.uint64(slot) * row_bytes
        copy_bytes(target, source_base + np.uint64(i) * row_bytes, row_bytes)
    return grown
