"""How often keys were asked for lately, in a fixed 8 bytes a key: a count-min sketch that ages.

A key owns four counters of four bits, all in one cache line, so that a count costs one trip to
memory. Only the lowest of them are raised (Estan, Varghese: New directions in traffic measurement
and accounting, 2002), which keeps neighbours of hot keys low. After ten counts for every key of the
capacity all counters are halved, so that what is no longer asked for is forgotten (Einziger,
Friedman, Manes: TinyLFU, 2017). A hand halves them one line a counted key, never all at once; what
it has not reached is read as half already, so an estimate never compares before with after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.rows.intrinsics import prefetch
from sedp.storage.rows.keys import mix
from sedp.storage.tier import Keys

Words = NDArray[np.uint64]
Places = NDArray[np.int64]
Marks = NDArray[np.uint64]

COUNT_MAX = 15  # four bits
KEYS_PER_LINE = 8  # 8 bytes a key, as Caffeine has them: one counter in sixteen is raised by a key
COUNTS_PER_KEY = 10  # between two halvings; TinyLFU's
CAPACITY_MAX = 1 << 34  # lines are numbered by 32 bits of the mixed key
_LINE_BYTES = 64
_WORDS = _LINE_BYTES // 8
_CHUNK = 32  # prefetches in flight
_DEPTH = 4  # counters of a key
_BITS = np.uint64(4)
_NIBBLE = np.uint64(COUNT_MAX)
_HALVES = np.uint64(0x7777777777777777)  # drops the bit that a shift brings in from the neighbour


@inlined
def _signed(word: np.uint64) -> int:
    """An index; numba makes floats of signed and unsigned integers that meet."""
    index: Any = np.int64(word)
    return index  # type: ignore[no-any-return]


@inlined
def _place(mixed: np.uint64, lines: int) -> int:
    """The line of a key: the top half of its mixed bits, scaled without a division."""
    return _signed(((mixed >> np.uint64(32)) * np.uint64(lines)) >> np.uint64(32))


@inlined
def _word(mark: np.uint64, row: int) -> int:
    """Counter `row` of a key is in one of two words of its line: 5 bits a row choose which."""
    return 2 * row + _signed((mark >> np.uint64(8 * row + 4)) & np.uint64(1))


@inlined
def _shift(mark: np.uint64, row: int) -> np.uint64:
    return ((mark >> np.uint64(8 * row)) & _NIBBLE) * _BITS


@inlined
def _lowest(words: Words, place: int, mark: np.uint64) -> np.uint64:
    lowest = _NIBBLE
    for row in range(_DEPTH):
        count = (words[place, _word(mark, row)] >> _shift(mark, row)) & _NIBBLE
        lowest = min(lowest, count)
    return lowest


@inlined
def _ask_early(words: Words, keys: Keys, start: int, places: Places, marks: Marks) -> int:
    """Find the lines of a chunk of keys and ask the memory for them; returns how many."""
    count = min(_CHUNK, keys.size - start)
    base = np.uint64(words.ctypes.data)
    for i in range(count):
        marks[i] = mix(keys[start + i])
        places[i] = _place(marks[i], words.shape[0])
        prefetch(base + np.uint64(places[i]) * np.uint64(_LINE_BYTES))
    return count


@kernel("void(uint64[:, ::1], Array(uint64, 1, 'C', readonly=True))")
def count_keys(words: Words, keys: Keys) -> None:
    """Raise the lowest of each key's counters, in order; at 15 they stay."""
    places, marks = np.empty(_CHUNK, dtype=np.int64), np.empty(_CHUNK, dtype=np.uint64)
    for start in range(0, keys.size, _CHUNK):
        for i in range(_ask_early(words, keys, start, places, marks)):
            lowest = _lowest(words, places[i], marks[i])
            if lowest == _NIBBLE:
                continue
            for row in range(_DEPTH):
                word, shift = _word(marks[i], row), _shift(marks[i], row)
                is_lowest = (words[places[i], word] >> shift) & _NIBBLE == lowest
                words[places[i], word] += np.uint64(is_lowest) << shift


@kernel("void(uint64[:, ::1], int64, Array(uint64, 1, 'C', readonly=True), uint8[::1])")
def estimate_keys(words: Words, hand: int, keys: Keys, counts: NDArray[np.uint8]) -> None:
    """The lowest counter of each key; of lines from `hand` on, half of it."""
    places, marks = np.empty(_CHUNK, dtype=np.int64), np.empty(_CHUNK, dtype=np.uint64)
    for start in range(0, keys.size, _CHUNK):
        for i in range(_ask_early(words, keys, start, places, marks)):
            lowest = _lowest(words, places[i], marks[i])
            counts[start + i] = lowest >> np.uint64(places[i] >= hand)


@kernel("void(uint64[:, ::1], int64, int64)")
def halve_lines(words: Words, start: int, stop: int) -> None:
    """Halve all counters of these lines, rounding down."""
    for at in range(start, stop):
        for word in range(_WORDS):
            words[at, word] = (words[at, word] >> np.uint64(1)) & _HALVES


class Sketch:
    """Estimated accesses of any number of keys since about the last `10 * capacity` of them.

    One thread at a time may call it: the caller holds a lock.

    Args:
        capacity: distinct keys to be told apart, 1..2³⁴; it takes 8 bytes a key, in whole lines.
            With more keys than that in use, estimates are too high rather than too low.

    Raises:
        ValueError: capacity is out of bounds.
    """

    def __init__(self, capacity: int) -> None:
        if not 1 <= capacity <= CAPACITY_MAX:
            raise ValueError(f"sketch: capacity {capacity} must be 1..{CAPACITY_MAX}")
        lines = -(-capacity // KEYS_PER_LINE)
        memory = np.empty((lines + 1) * _WORDS, dtype=np.uint64)
        memory.fill(0)  # written to at once: no look-up shall wait for the system's pages
        skip = -memory.ctypes.data % _LINE_BYTES // 8
        self._words = memory[skip : skip + lines * _WORDS].reshape(lines, _WORDS)
        self._period = COUNTS_PER_KEY * KEYS_PER_LINE * lines
        self._counted = 0  # since the last halving began
        self._hand = lines  # lines before it are halved; at the end, all are

    @property
    def bytes(self) -> int:
        """What the counters take."""
        return self._words.nbytes

    def count_many(self, keys: Keys) -> None:
        """Count one access of every key (uint64[n], C-contiguous; repeats count each).

        Besides that it halves at most n lines, those that are due.
        """
        count_keys(self._words, keys)
        self._counted += len(keys)
        lines = len(self._words)
        if self._counted >= self._period and self._hand == lines:
            self._counted, self._hand = 0, 0
        stop = min(self._hand + len(keys), lines)
        halve_lines(self._words, self._hand, stop)
        self._hand = stop

    def estimate_many(self, keys: Keys) -> NDArray[np.uint8]:
        """How often each key (uint64[n], C-contiguous) was counted lately: uint8[n], 0..15."""
        counts = np.empty(len(keys), dtype=np.uint8)
        estimate_keys(self._words, self._hand, keys, counts)
        return counts
