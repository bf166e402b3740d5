"""The memory of the score table: sets of seven ways that keep whole keys, one record a set.

A record begins with three cache lines: the ways' *tags*, hashes of their keys (the eighth word
belongs to the clock that picks whom to evict), the *times* at which their scores were asked for,
and the *marks*, when somebody began to compute them. Then come seven entries: user, tenant, item,
the scores, and which row of its batch set the mark.

A tag only finds a way. What counts is that all 192 bits of the key are equal, so keys of one hash
live beside each other, and none is ever answered with another's scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.ram.line import LINE_BYTES, WAYS, home_of, way_of
from sedp.storage.rows.intrinsics import as_index, prefetch
from sedp.storage.rows.keys import GOLDEN, mix

NEVER_NS = -(1 << 61)  # of a way without score or mark; earlier than any time, and now - it fits
TIMES, MARKS, ENTRIES = 8, 16, 24  # words before them in a record
KEY_WORDS = 3  # user, tenant, item
UNUSED = np.uint64(0)  # tag of a way that never held a key
RECORD_ALIGNMENT = 8  # words: a record starts on a cache line

# The clock of a run and what follows from it, by places in `limits`: int64[6].
NOW, TTL, STALE_TTL, KEEP, PENDING, FOLLOWS = range(6)

# What is counted, by places in `counts`: where rows' scores come from, and what else happened.
COMPUTED, CACHED, STALE, REPEATED, FOLLOWED = range(5)
EXPIRED, OVERRULED, EVICTED, CROWDED, STORED, LOST, WHOLE = range(5, 12)
COUNTS = 12

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]

WORDS = types.Array(types.uint64, 1, "C", readonly=True)
NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
COUNTERS = types.int64[::1]
RECORDS = (types.uint64[:, ::1], types.int64[:, ::1], types.float32[:, ::1])


class Records(NamedTuple):
    """One memory, seen as three types: uint64 and int64[sets, words], float32[sets, 2 * words]."""

    words: Words
    numbers: Numbers
    floats: Scores


def entry_words(scores: int) -> int:
    """Of one key with so many scores: they and a row take 4 bytes each, rounded up."""
    return KEY_WORDS + (scores + 2) // 2


def record_bytes(scores: int) -> int:
    """What one set of seven keys takes, with so many scores a key."""
    words = ENTRIES + WAYS * entry_words(scores)
    return 8 * (words + -words % RECORD_ALIGNMENT)


def new_records(sets: int, scores: int) -> Records:
    """An empty table."""
    words = new_lines(sets, record_bytes(scores) // 8)
    numbers = words.view(np.int64)
    numbers[:, TIMES:ENTRIES] = NEVER_NS
    return Records(words, numbers, words.view(np.float32))


def new_lines(rows: int, words: int = 8) -> Words:
    """Zeroed uint64[rows, words] that starts on a cache line; takes one line more.

    Written to at once, so that no look-up waits for the system to clear pages.
    """
    memory = np.empty(rows * words + 8, np.uint64)
    memory.fill(0)
    skip = -memory.ctypes.data % LINE_BYTES // 8
    return memory[skip : skip + rows * words].reshape(rows, words)


@kernel(types.uint64[::1](WORDS, WORDS, WORDS, NUMBERS))
def tags_of(users: Words, tenants: Words, items: Words, splits: Numbers) -> Words:
    """The hash of every row's key."""
    tags = np.empty_like(items)
    for event in range(users.size):
        seed = mix((mix(tenants[event] + GOLDEN) + GOLDEN) ^ users[event])
        for row in range(splits[event], splits[event + 1]):
            tags[row] = mix((seed + GOLDEN) ^ items[row])
    return tags


@inlined
def _address(words: Words, home: int, word: int) -> np.uint64:
    place = home * words.shape[1] + word
    return np.uint64(words.ctypes.data) + np.uint64(8) * np.uint64(place)


@inlined
def ask_for_set(words: Words, tag: np.uint64) -> None:
    """Let the memory bring what tells whether a key is held, and how old it is."""
    home = home_of(tag, words.shape[0])
    prefetch(_address(words, home, 0))
    prefetch(_address(words, home, TIMES))


@inlined
def ask_for_entry(words: Words, entry: int, tag: np.uint64) -> None:
    """Let the memory bring the entry that probably holds the key of this hash, or will get it."""
    home = home_of(tag, words.shape[0])
    way = way_of(_address(words, home, 0), tag)
    if way == WAYS:
        prefetch(_address(words, home, MARKS))
        way = way_of(_address(words, home, 0), UNUSED)
        if way == WAYS:
            way = as_index(words[home, WAYS]) >> 7
    prefetch(_address(words, home, ENTRIES + way * entry))
    prefetch(_address(words, home, ENTRIES + way * entry + entry - 1))


@inlined
def held_way(
    words: Words,
    entry: int,
    home: int,
    tag: np.uint64,
    user: np.uint64,
    tenant: np.uint64,
    item: np.uint64,
) -> int:
    """The way of a set that holds exactly this key, or 7.

    Args:
        entry: words of one.
    """
    way = way_of(_address(words, home, 0), tag)
    while way < WAYS:
        key = ENTRIES + way * entry
        is_user = words[home, key] == user and words[home, key + 1] == tenant
        if is_user and words[home, key + 2] == item and words[home, way] == tag:
            break
        way += 1  # another key of this hash, or of another
    return way


@inlined
def claim_way(
    words: Words,
    numbers: Numbers,
    entry: int,
    home: int,
    tag: np.uint64,
    user: np.uint64,
    tenant: np.uint64,
    item: np.uint64,
    limits: Numbers,
    counts: Numbers,
) -> int:
    """A way for a key that is not held: one of no use to anybody, else by the clock; 7 for none."""
    way = _free_way(words, numbers, home, limits, counts)
    if way == WAYS:
        counts[CROWDED] += 1
        return way
    key = ENTRIES + way * entry
    words[home, way] = tag
    words[home, key], words[home, key + 1], words[home, key + 2] = user, tenant, item
    numbers[home, TIMES + way] = numbers[home, MARKS + way] = NEVER_NS
    return way


@inlined
def touch(words: Words, home: int, way: int) -> None:
    """Note a hit: the clock passes by this way once. A bit that is set is left alone."""
    bit = np.uint64(1) << np.uint64(way)
    if words[home, WAYS] & bit == 0:
        words[home, WAYS] |= bit


@inlined
def _free_way(words: Words, numbers: Numbers, home: int, limits: Numbers, counts: Numbers) -> int:
    """What is being computed stays: others may rely on it."""
    pending, now_ns = 0, limits[NOW]
    for way in range(WAYS):
        if now_ns - numbers[home, MARKS + way] < limits[PENDING]:
            pending |= 1 << way
        elif now_ns - numbers[home, TIMES + way] > limits[KEEP]:
            return way
    word = as_index(words[home, WAYS])
    touched, hand = word & 0x7F, word >> 7
    for _ in range(2 * WAYS):
        way, hand = hand, hand + 1 if hand + 1 < WAYS else 0
        if (pending >> way) & 1 == 0:
            if (touched >> way) & 1 == 0:
                words[home, WAYS] = np.uint64(hand << 7 | touched)
                counts[EVICTED] += 1
                return way
            touched &= ~(1 << way)
    return WAYS


@inlined
def copy_scores(floats: Scores, entry: int, home: int, way: int, scores: Scores, row: int) -> None:
    start = 2 * (ENTRIES + way * entry + KEY_WORDS)
    for column in range(scores.shape[0]):
        scores[column, row] = floats[home, start + column]


words_of_entry = inlined(entry_words)
