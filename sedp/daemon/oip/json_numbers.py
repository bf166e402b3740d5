"""Lists of JSON numbers read straight into arrays.

A general reader makes a Python object of every number, and numpy then looks into each: for a
request of three thousand numbers that was most of its cost. These loops read what clients commonly
send, in the nesting that the shape says. Whatever else they meet, from a wrong nesting to a number
that is too long to be rounded surely, they give up on, and the general reader decides: so they
never refuse anything, and what they do read is what it would have read, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.daemon.oip.powers_of_five import EXPONENT_MAX, table
from sedp.storage.kernel import inlined, kernel

Text = NDArray[np.uint8]
Sizes = NDArray[np.int64]

DIGITS_MAX = 18  # fit into an int64 whatever they are
SIGNIFICANT_MAX = 19  # fit into a uint64
EXACT_POWER_MAX = 22  # 10**22 is the last power of ten that is a double
TIE_MIN, TIE_MAX = -4, 23  # with other powers no decimal of 19 digits lies half-way
GIVE_UP = -1

MINUS, PLUS, POINT, ZERO, NINE = (ord(sign) for sign in "-+.09")
COMMA, OPEN, CLOSE, SMALL_E, LARGE_E = (ord(sign) for sign in ",[]eE")
SPACE, TAB, LINE_FEED, RETURN = (ord(sign) for sign in " \t\n\r")
POWERS = table()
EXACT_POWERS = np.array([float(10**power) for power in range(EXACT_POWER_MAX + 1)])
_U = np.uint64
_LOW = _U(0xFFFF_FFFF)
_HIDDEN_BIT = _U(1 << 52)


def read_integers(text: Array, shape: Sequence[int], dtype: np.dtype[Any]) -> Array | None:
    """Integers of a flat or nested list, as a flat array; `None` to leave it to others.

    Args:
        text: uint8[n], JSON.
        shape: of the nesting, outermost first.
        dtype: of at most 64 bits.
    """
    dims = np.array(shape, np.int64)
    out = np.empty(int(dims.prod()), np.int64)
    limits = np.iinfo(dtype)
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
    dims = np.array(shape, np.int64)
    out = np.empty(int(dims.prod()), np.float64)
    if not fill_floats(text, dims, out, out.view(np.uint64)):
        return None
    if dtype == np.float64:
        return out
    with np.errstate(over="ignore"):
        return out.astype(dtype)


@inlined
def _skip_space(text: Text, at: int) -> int:
    while at < len(text) and text[at] <= SPACE and text[at] in (SPACE, TAB, LINE_FEED, RETURN):
        at += 1
    return at


@inlined
def _next_number(text: Text, at: int, dims: Sizes, counts: Sizes, level: int) -> tuple[int, int]:
    """Go over brackets and commas to the next number.

    Args:
        counts: int64[len(dims)], of elements so far in the open lists; updated.
        level: lists that are open; 0 at the very start.

    Returns:
        (position of the number, level); (length of the text, 0) when all lists are closed as
        they should be; `GIVE_UP` as position for anything else.
    """
    if level == len(dims) and at + 2 < len(text) and text[at] == COMMA:  # nearly always
        ahead = at + 1 + (text[at + 1] == SPACE)
        if MINUS <= text[ahead] <= NINE:
            return ahead, level
    expects_value = level == 0
    while True:
        at = _skip_space(text, at)
        if at >= len(text):
            return GIVE_UP, level
        sign = text[at]
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
                return (len(text) if _skip_space(text, at) == len(text) else GIVE_UP), 0
            counts[level - 1] += 1
        else:
            return GIVE_UP, level


@inlined
def _read_exponent(text: Text, at: int) -> tuple[int, int]:
    is_negative = at < len(text) and text[at] == MINUS
    if at < len(text) and (text[at] == MINUS or text[at] == PLUS):
        at += 1
    start = at
    power = 0
    while at < len(text) and ZERO <= text[at] <= NINE and at - start < 4:
        power = power * 10 + int(text[at] - ZERO)
        at += 1
    if at == start or at - start == 4:
        return GIVE_UP, 0
    return at, -power if is_negative else power


@inlined
def _read_decimal(text: Text, at: int) -> tuple[int, np.uint64, int]:
    """A JSON number without its sign: (position behind it, its digits, power of ten)."""
    digits = _U(0)
    start = at
    point = -1
    count = 0  # from the first that is not zero
    while at < len(text):
        sign = text[at]
        if ZERO <= sign <= NINE:
            digits = digits * _U(10) + _U(sign - ZERO)
            count += count > 0 or digits != _U(0)  # the 20th may wrap them to 0
        elif sign == POINT and point < 0:
            point = at
        else:
            break
        at += 1
    whole = (at if point < 0 else point) - start
    if whole == 0 or (whole > 1 and text[start] == ZERO) or point == at - 1:
        return GIVE_UP, digits, 0
    if count > SIGNIFICANT_MAX:
        return GIVE_UP, digits, 0
    exponent = 0 if point < 0 else point + 1 - at
    if at < len(text) and (text[at] == SMALL_E or text[at] == LARGE_E):
        at, power = _read_exponent(text, at + 1)
        exponent += power
    return at, digits, exponent


@inlined
def _multiply(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Upper and lower half of the product of two uint64."""
    shift = _U(32)
    a_high, a_low, b_high, b_low = a >> shift, a & _LOW, b >> shift, b & _LOW
    low = a_low * b_low
    middle = a_high * b_low + (low >> shift)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> shift) + (other >> shift), a * b


@inlined
def _round(digits: np.uint64, exponent: int) -> np.uint64:
    """The bits of the double nearest to digits * 10**exponent; 0 when that is not sure.

    Source: D. Lemire, "Number parsing at a gigabyte per second", 2021, algorithm 1.
    """
    none = _U(0)
    if digits == none or not -EXPONENT_MAX <= exponent <= EXPONENT_MAX:
        return none
    zeros = 0
    while digits < _U(1 << 63):
        digits <<= _U(1)
        zeros += 1
    high, low = _multiply(digits, POWERS[exponent + EXPONENT_MAX, 0])
    if high & _U(0x1FF) == _U(0x1FF):  # the lower half of the power may decide
        more, _ = _multiply(digits, POWERS[exponent + EXPONENT_MAX, 1])
        low += more
        if more > low:
            high += _U(1)
    if low == _U(0xFFFF_FFFF_FFFF_FFFF):
        return none  # more bits of the power would have to decide
    upper = high >> _U(63)
    mantissa = high >> (upper + _U(9))
    may_tie = low <= _U(1) and TIE_MIN <= exponent <= TIE_MAX
    if may_tie and mantissa & _U(3) == _U(1) and mantissa << (upper + _U(9)) == high:
        mantissa &= ~_U(1)  # half-way between two doubles, and the even one is below
    power = ((217706 * exponent) >> 16) + 63 + 1023 + np.int64(upper) - zeros
    mantissa = (mantissa + (mantissa & _U(1))) >> _U(1)
    if mantissa >= _HIDDEN_BIT << _U(1):
        mantissa = _HIDDEN_BIT
        power += 1
    return (mantissa & ~_HIDDEN_BIT) | _U(power) << _U(52)


@kernel("boolean(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1], int64, int64)")
def fill_integers(
    text: Text,
    dims: Sizes,
    out: NDArray[np.int64],
    least: int,
    greatest: int,
) -> bool:
    """Read integers within limits; whether all of it could be read.

    Args:
        dims: sizes of the lists, outermost first; their product is `len(out)`.
    """
    counts = np.zeros(len(dims), np.int64)
    done = 0
    at, level = _next_number(text, 0, dims, counts, 0)
    while level > 0 and at != GIVE_UP:
        is_negative = text[at] == MINUS
        at += is_negative
        start = at
        value = np.int64(0)
        while at < len(text) and ZERO <= text[at] <= NINE and at - start <= DIGITS_MAX:
            value = value * 10 + np.int64(text[at] - ZERO)
            at += 1
        digits = at - start
        if digits == 0 or digits > DIGITS_MAX or (digits > 1 and text[start] == ZERO):
            return False
        if is_negative:
            value = -value
        if done == len(out) or value < least or value > greatest:
            return False
        out[done] = value
        done += 1
        counts[level - 1] += 1
        at, level = _next_number(text, at, dims, counts, level)
    return at != GIVE_UP and done == len(out)


@kernel("boolean(Array(uint8, 1, 'C', readonly=True), int64[::1], float64[::1], uint64[::1])")
def fill_floats(
    text: Text,
    dims: Sizes,
    out: NDArray[np.float64],
    bits: NDArray[np.uint64],
) -> bool:
    """Read floats, each rounded correctly; whether all of it could be read.

    Args:
        dims: sizes of the lists, outermost first; their product is `len(out)`.
        bits: the same memory as `out`.
    """
    counts = np.zeros(len(dims), np.int64)
    done = 0
    at, level = _next_number(text, 0, dims, counts, 0)
    while level > 0 and at != GIVE_UP:
        is_negative = text[at] == MINUS
        at += is_negative
        at, digits, exponent = _read_decimal(text, at)
        if at == GIVE_UP or done == len(out):
            return False
        if digits < _U(1 << 53) and -EXACT_POWER_MAX <= exponent <= EXACT_POWER_MAX:
            value = np.float64(digits)  # both factors are exact, so the result is rounded once
            if exponent < 0:
                value /= EXACT_POWERS[-exponent]
            else:
                value *= EXACT_POWERS[exponent]
            out[done] = value
        else:
            number = _round(digits, exponent)
            if number == _U(0):
                return False
            bits[done] = number
        if is_negative:
            out[done] = -out[done]
        done += 1
        counts[level - 1] += 1
        at, level = _next_number(text, at, dims, counts, level)
    return at != GIVE_UP and done == len(out)
