"""Keys of rows: 64 bits, either a raw id or several columns mixed into one.

Mixed keys are as good as random, so two different rows of columns share a key with a chance of
about n² / 2⁶⁵ for n rows: 4 million rows collide once in 2 million tables. The mixer is the
finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: keeps a run of zeros from staying zero
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
_FIRST_INVERSE = np.uint64(pow(int(FIRST), -1, 1 << 64))
_SECOND_INVERSE = np.uint64(pow(int(SECOND), -1, 1 << 64))


@inlined
def mix(word: np.uint64) -> np.uint64:
    """Spread every bit of a 64-bit word over all of them, one to one."""
    word = (word ^ (word >> np.uint64(30))) * FIRST
    word = (word ^ (word >> np.uint64(27))) * SECOND
    return word ^ (word >> np.uint64(31))


@inlined
def unmix(word: np.uint64) -> np.uint64:
    """The word that `mix` makes this of."""
    word = (word ^ (word >> np.uint64(31)) ^ (word >> np.uint64(62))) * _SECOND_INVERSE
    word = (word ^ (word >> np.uint64(27)) ^ (word >> np.uint64(54))) * _FIRST_INVERSE
    return word ^ (word >> np.uint64(30)) ^ (word >> np.uint64(60))


@kernel("uint64[::1](Array(uint64, 1, 'C', readonly=True))")
def mix_all(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every key mixed, one to one."""
    mixed = np.empty_like(keys)
    for i in range(keys.size):
        mixed[i] = mix(keys[i])
    return mixed


@kernel("uint64[::1](Array(uint64, 1, 'C', readonly=True))")
def unmix_all(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The keys that `mix_all` makes these of."""
    keys = np.empty_like(words)
    for i in range(words.size):
        keys[i] = unmix(words[i])
    return keys


@kernel("void(Array(int64, 1, 'C', readonly=True), uint64[::1])")
def fold(column: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
    """Mix one column into the keys made of the columns before it."""
    for i in range(keys.size):
        keys[i] = mix((keys[i] + GOLDEN) ^ np.uint64(column[i]))


def combine(columns: Sequence[NDArray[Any]], salt: int) -> NDArray[np.uint64]:
    """One key a row from several integer columns; their order matters.

    Args:
        columns: one or more arrays of n integers of any width; each value counts as an int64.
        salt: 0..2⁶⁴-1, from `salt_of`; keeps the slots of one table apart.

    Returns:
        uint64[n].

    Raises:
        ValueError: no column, or columns that are not integers of one length.
    """
    if not columns:
        raise ValueError("combine needs at least one column; it was given none")
    for index, column in enumerate(columns):
        if column.dtype.kind not in "iu" or column.shape != (len(columns[0]),):
            raise ValueError(
                f"column {index} is {column.dtype}{list(column.shape)}; "
                f"every column must hold {len(columns[0])} integers"
            )
    keys = np.full(len(columns[0]), salt, dtype=np.uint64)
    for column in columns:
        fold(np.ascontiguousarray(column.astype(np.int64, copy=False)), keys)
    return keys


@kernel(
    "void(Array(int64, 2, 'C', readonly=True), Array(uint64, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), uint64[:, ::1])"
)
def combine_slots(
    columns: NDArray[np.int64],
    salts: NDArray[np.uint64],
    members: NDArray[np.int64],
    stops: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> None:
    """The keys of many slots at once: `keys[:, s]` is `combine` of slot `s`'s columns.

    Args:
        columns: int64[c, n], the columns that any slot reads.
        salts: uint64[s].
        members: rows of `columns` that make up the slots, slot after slot.
        stops: int64[s], where each slot's members end.
        keys: uint64[n, s], written.
    """
    start = 0
    for slot in range(salts.size):
        for i in range(columns.shape[1]):
            key = salts[slot]
            for member in range(start, stops[slot]):
                key = mix((key + GOLDEN) ^ np.uint64(columns[members[member], i]))
            keys[i, slot] = key
        start = stops[slot]


@functools.lru_cache(maxsize=4096)
def salt_of(name: str) -> int:
    """The 64-bit number of a slot name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
