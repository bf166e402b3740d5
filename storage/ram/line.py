"""One set of the RAM tier: a cache line of seven keys and a word that guards them.

The low byte of the word has a bit a way: *touched*, set by look-ups. The 56 bits above it are the
set's *version*, odd while a key or a row of the set is being changed. A look-up takes no lock. It
reads the version, finds the key, copies the row and reads the version again: if that was odd or has
changed, the copy may be torn and counts for nothing (a seqlock; Boehm: Can seqlocks get along with
programming language memory models?, 2012). Writers are one at a time.

Why no torn row passes: the writer's odd version is stored before the first byte it changes (a fence
of stores between), its even one after the last (a release). So whoever loaded a changed byte before
its second load of the version (a fence of loads between) finds another version there than the even
one it began with (an acquire). 56 bits do not come round while a batch is copied.

Ways fill from 0 up and never become empty again, so a set with an empty way ends a search: what is
forgotten leaves its way *vacated*. Both are marked by key words of their own, which are nobody's
key: the two keys that equal them are never held.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.rows.intrinsics import (
    as_index,
    fence_loads,
    fence_stores,
    load_acquire,
    load_byte,
    place_of,
    store_byte,
    store_release,
)

WAYS = 7
LINE_BYTES = 64
EMPTY = np.uint64(0xC2B2AE3D27D4EB4E)  # a number like any other, but even
VACATED = np.uint64(0xC2B2AE3D27D4EB4F)

Lines = NDArray[np.uint64]
Words = NDArray[np.uint64]

_WORD_AT = np.uint64(8 * WAYS)
_VERSION_SHIFT = np.uint64(8)
_ONE_VERSION = np.uint64(1 << 8)
_ODD = np.uint64(1)


@inlined
def home_of(hashed: np.uint64, sets: int) -> int:
    """The top half of a mixed key, scaled to 0..sets-1 without a division."""
    return as_index(((hashed >> np.uint64(32)) * np.uint64(sets)) >> np.uint64(32))


@inlined
def set_after(at: int, sets: int) -> int:
    return at + 1 if at + 1 < sets else 0


@inlined
def line_of(lines: Lines, at: int) -> np.uint64:
    """Its address."""
    return np.uint64(lines.ctypes.data) + np.uint64(at) * np.uint64(LINE_BYTES)


@inlined
def version_of(line: np.uint64) -> np.uint64:
    """The version of a set; nothing of the set is loaded before."""
    return np.uint64(load_acquire(line + _WORD_AT) >> _VERSION_SHIFT)


@inlined
def is_unchanged(line: np.uint64, version: np.uint64) -> bool:
    """Whether all that was loaded since the set had this version belongs together."""
    fence_loads()
    return bool(version & _ODD == 0 and version_of(line) == version)


@inlined
def begin_change(line: np.uint64) -> None:
    store_release(line + _WORD_AT, load_acquire(line + _WORD_AT) + _ONE_VERSION)
    fence_stores()


@inlined
def end_change(line: np.uint64) -> None:
    store_release(line + _WORD_AT, load_acquire(line + _WORD_AT) + _ONE_VERSION)


@inlined
def is_changing(line: np.uint64) -> bool:
    return bool(version_of(line) & _ODD)


@inlined
def touched_ways(line: np.uint64) -> int:
    """A bit a way."""
    return as_index(load_byte(line + _WORD_AT))


@inlined
def touch(line: np.uint64, way: int) -> None:
    """Note a hit. A bit set or cleared by another thread at the same time may be lost: no harm.

    One that is set already is left, so that the lines of hot keys stay in the caches of all cores.
    """
    touched = load_byte(line + _WORD_AT)
    if not (touched >> way) & 1:
        store_byte(line + _WORD_AT, touched | (1 << way))


@inlined
def clear_touched(line: np.uint64, ways: int) -> None:
    store_byte(line + _WORD_AT, load_byte(line + _WORD_AT) & ~ways)


@inlined
def is_key(key: np.uint64) -> bool:
    """Not one of the two marks."""
    return bool(key | np.uint64(1) != VACATED)


@inlined
def way_of(line: np.uint64, word: np.uint64) -> int:
    """The first way with this key, or 7."""
    return as_index(place_of(line, word))


@inlined
def slot_of(lines: Lines, home: int, key: np.uint64, reach: int) -> int:
    """Where a key is held (set * 7 + way), or -1."""
    at, way, passed = home, way_of(line_of(lines, home), key), 1
    while way == WAYS and passed < reach and lines[at, WAYS - 1] != EMPTY:
        at = set_after(at, lines.shape[0])
        way = way_of(line_of(lines, at), key)
        passed += 1
    return at * WAYS + way if way < WAYS and is_key(key) else -1


@inlined
def free_slot(lines: Lines, home: int, reach: int) -> int:
    """The first way in reach that is vacated or empty, or -1."""
    at = home
    for _ in range(reach):
        line = line_of(lines, at)
        way = min(way_of(line, EMPTY), way_of(line, VACATED))
        if way < WAYS:
            return at * WAYS + way
        at = set_after(at, lines.shape[0])
    return -1


@kernel("void(uint64[::1], int64, uint64)")
def show_word(words: Words, at: int, word: np.uint64) -> None:
    """Set a word that other processes read, after all that was stored before it."""
    store_release(np.uint64(words.ctypes.data) + np.uint64(8 * at), word)
    fence_stores()


@kernel("uint64(Array(uint64, 1, 'C', readonly=True), int64)")
def seen_word(words: Words, at: int) -> np.uint64:
    """A word that another process sets, loaded between what is loaded before and after."""
    fence_loads()
    return np.uint64(load_acquire(np.uint64(words.ctypes.data) + np.uint64(8 * at)))
