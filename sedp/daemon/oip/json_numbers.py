"""Lists of JSON numbers read straight into arrays.

A general reader makes a Python object of every number, and numpy then looks into each: for a
request of three thousand numbers that was most of its cost. These loops read what clients commonly
send, in the nesting that the shape says. Whatever else they meet, from a wrong nesting to a number
that is too long to be rounded surely, they give up on, and the general reader decides: so they
never refuse anything, and what they do read is what it would have read, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.daemon.oip.json_scalars import GIVE_UP, MINUS, NINE, read_float, read_integer
from sedp.kernel import inlined, kernel
from sedp.storage.rows.intrinsics import as_index, load_byte

Text = NDArray[np.uint8]
Sizes = NDArray[np.int64]

COMMA, OPEN, CLOSE = (ord(sign) for sign in ",[]")
SPACE, TAB, LINE_FEED, RETURN = (ord(sign) for sign in " \t\n\r")


def read_integers(text: Array, shape: Sequence[int], dtype: np.dtype[Any]) -> Array | None:
    """Integers of a flat or nested list, as a flat array; `None` to leave it to others.

    Args:
        text: uint8[n], JSON.
        shape: of the nesting, outermost first.
        dtype: of at most 64 bits.
    """
    out = np.empty(math.prod(shape), np.int64)
    limits = np.iinfo(dtype)
    dims = np.array(shape, np.int64)
    if not fill_integers(text, dims, out, limits.min, min(limits.max, 2**63 - 1)):
        return None
    return out if dtype == np.int64 else out.astype(dtype)


def read_floats(text: Array, shape: Sequence[int], dtype: np.dtype[Any]) -> Array | None:
    """Floats of a flat or nested list, as a flat array; `None` to leave it to others.

    Args:
        text: uint8[n], JSON.
        shape: of the nesting, outermost first.
        dtype: float32 or float64; a value too large for it becomes infinite.
    """
    out = np.empty(math.prod(shape), dtype)
    fill = fill_singles if dtype == np.float32 else fill_doubles
    return out if fill(text, np.array(shape, np.int64), out) else None


@inlined
def _skip_space(at: int, stop: int) -> int:
    while at < stop and load_byte(at) <= SPACE:
        if load_byte(at) not in (SPACE, TAB, LINE_FEED, RETURN):
            break
        at += 1
    return at


@inlined
def _find_neighbour(at: int, stop: int) -> int:
    """The number that follows another one in the same list, if plainly so; else `GIVE_UP`.

    Nearly always it does, and the way over all brackets takes longer than reading a number.
    """
    if at + 2 < stop and load_byte(at) == COMMA:
        at += 1 + (load_byte(at + 1) == SPACE)
        if MINUS <= load_byte(at) <= NINE:
            return at
    return GIVE_UP


@inlined
def _next_number(at: int, stop: int, dims: Sizes, counts: Sizes, level: int) -> tuple[int, int]:
    """Go over brackets and commas to the next number.

    Args:
        at, stop: addresses in the text, and of its end.
        counts: int64[len(dims)], of elements so far in the open lists; updated.
        level: lists that are open; 0 at the very start.

    Returns:
        (address of the number, level); (`stop`, 0) when all lists are closed as they should be;
        `GIVE_UP` as address for anything else.
    """
    expects_value = level == 0
    while True:
        at = _skip_space(at, stop)
        if at >= stop:
            return GIVE_UP, level
        sign = load_byte(at)
        if expects_value:
            if level == len(dims):
                return at, level
            if sign != OPEN:
                return GIVE_UP, level
            counts[level] = 0
            level += 1
            at += 1
            continue
        at += 1
        if sign == COMMA:
            expects_value = True
        elif sign == CLOSE:
            if counts[level - 1] != dims[level - 1]:
                return GIVE_UP, level
            level -= 1
            if level == 0:
                return (stop if _skip_space(at, stop) == stop else GIVE_UP), 0
            counts[level - 1] += 1
        else:
            return GIVE_UP, level


@kernel("boolean(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1], int64, int64)")
def fill_integers(
    text: Text, dims: Sizes, out: NDArray[np.int64], least: int, greatest: int
) -> bool:
    """Read integers within limits; whether all of it could be read.

    Args:
        dims: sizes of the lists, outermost first; their product is `len(out)`.
    """
    counts = np.zeros(len(dims), np.int64)
    start = as_index(text.ctypes.data)
    stop = start + len(text)
    done = 0
    at, level = _next_number(start, stop, dims, counts, 0)
    while level > 0 and at != GIVE_UP:
        first = done
        while at != GIVE_UP:
            end, value = read_integer(at, stop)
            if end == GIVE_UP or done == len(out) or value < least or value > greatest:
                return False
            out[done] = value
            done += 1
            at = _find_neighbour(end, stop)
        counts[-1] += done - first
        at, level = _next_number(end, stop, dims, counts, level)
    return at != GIVE_UP and done == len(out)


def _fill_floats(text: Text, dims: Sizes, out: NDArray[Any]) -> bool:
    """Read floats, each rounded correctly to a double; whether all of it could be read.

    Args:
        dims: sizes of the lists, outermost first; their product is `len(out)`.
    """
    counts = np.zeros(len(dims), np.int64)
    start = as_index(text.ctypes.data)
    stop = start + len(text)
    done = 0
    at, level = _next_number(start, stop, dims, counts, 0)
    while level > 0 and at != GIVE_UP:
        first = done
        while at != GIVE_UP:
            end, value = read_float(at, stop)
            if end == GIVE_UP or done == len(out):
                return False
            out[done] = value
            done += 1
            at = _find_neighbour(end, stop)
        counts[-1] += done - first
        at, level = _next_number(end, stop, dims, counts, level)
    return at != GIVE_UP and done == len(out)


_TEXT_AND_DIMS = "Array(uint8, 1, 'C', readonly=True), int64[::1]"
fill_singles = kernel(f"boolean({_TEXT_AND_DIMS}, float32[::1])")(_fill_floats)
fill_doubles = kernel(f"boolean({_TEXT_AND_DIMS}, float64[::1])")(_fill_floats)
