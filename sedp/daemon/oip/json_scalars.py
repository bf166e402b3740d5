"""One JSON number, from its text to a machine's number; for the loops of `json_numbers`.

Texts are given as addresses, signed ones, since numba makes floats where signed and unsigned
integers meet. Arrays would be counted as used at each call, which takes longer than a number does.
Whatever is no number, or cannot be rounded surely, is given up on.
"""

from __future__ import annotations

import numpy as np

from sedp.daemon.oip.powers_of_five import EXPONENT_MAX, table
from sedp.kernel import inlined
from sedp.storage.rows.intrinsics import as_index, load_byte, load_word

DIGITS_MAX = 18  # fit into an int64 whatever they are
SIGNIFICANT_MAX = 19  # fit into a uint64
EXACT_POWER_MAX = 22  # 10**22 is the last power of ten that is a double
TIE_MIN, TIE_MAX = -4, 23  # with other powers no decimal of 19 digits lies half-way
TWO_POWER_MAX = 400  # either way; more than EXPONENT_MAX and 64 bits of digits can come to
GIVE_UP = -1

MINUS, PLUS, POINT, ZERO, NINE, SMALL_E, LARGE_E = (ord(sign) for sign in "-+.09eE")
POWERS = table()
EXACT_POWERS = np.array([float(10**power) for power in range(EXACT_POWER_MAX + 1)])
TWO_POWERS = np.ldexp(1.0, np.arange(-TWO_POWER_MAX, TWO_POWER_MAX + 1))
_U = np.uint64
_LOW = _U(0xFFFF_FFFF)
_ZEROS, _OVER_NINE, _HIGH_BITS = (_U(byte * 0x0101_0101_0101_0101) for byte in (48, 70, 128))
_PAIRS = _U(0x0000_00FF_0000_00FF)
_HUNDREDS, _ONES = _U(100 + (1_000_000 << 32)), _U(1 + (10_000 << 32))
_EIGHT_DIGITS = _U(100_000_000)


@inlined
def read_integer(at: int, stop: int) -> tuple[int, int]:
    """(address behind it, value)."""
    is_negative = load_byte(at) == MINUS
    start = at + is_negative
    at, number = _read_digits(start, stop, _U(0))
    digits = at - start
    if digits == 0 or digits > DIGITS_MAX or (digits > 1 and load_byte(start) == ZERO):
        return GIVE_UP, 0
    value = as_index(number)
    return at, -value if is_negative else value


@inlined
def read_float(at: int, stop: int) -> tuple[int, float]:
    """(address behind it, the nearest double)."""
    is_negative = load_byte(at) == MINUS
    at, digits, exponent = _read_decimal(at + is_negative, stop)
    if at == GIVE_UP:
        return GIVE_UP, 0.0
    if digits < _U(1 << 53) and -EXACT_POWER_MAX <= exponent <= EXACT_POWER_MAX:
        value: float = np.float64(digits)  # both factors are exact, so the result is rounded once
        if exponent < 0:
            value /= EXACT_POWERS[-exponent]
        else:
            value *= EXACT_POWERS[exponent]
    else:
        value = _round(digits, exponent)
        if value == 0.0:
            return GIVE_UP, 0.0
    return at, -value if is_negative else value


@inlined
def _read_digits(at: int, stop: int, number: np.uint64) -> tuple[int, np.uint64]:
    """Append digits to a number, which wraps when they are too many: (address behind, number).

    Sources: eight at once by D. Lemire, "Quickly parsing eight digits", 2018; whether they are
    digits from his fast_float.
    """
    while at + 8 <= stop:
        word = load_word(at)
        if ((word + _OVER_NINE) | (word - _ZEROS)) & _HIGH_BITS:
            break
        word -= _ZEROS
        word = word * _U(10) + (word >> _U(8))
        word = (word & _PAIRS) * _HUNDREDS + ((word >> _U(16)) & _PAIRS) * _ONES
        number = number * _EIGHT_DIGITS + (word >> _U(32))
        at += 8
    while at < stop and ZERO <= load_byte(at) <= NINE:
        number = number * _U(10) + _U(load_byte(at) - ZERO)
        at += 1
    return at, number


@inlined
def _read_decimal(at: int, stop: int) -> tuple[int, np.uint64, int]:
    """A number without its sign: (address behind it, its digits, power of ten)."""
    start = at
    at, digits = _read_digits(at, stop, _U(0))
    whole = at - start
    if whole == 0 or (whole > 1 and load_byte(start) == ZERO):
        return GIVE_UP, digits, 0
    exponent = 0
    if at < stop and load_byte(at) == POINT:
        point = at
        at, digits = _read_digits(point + 1, stop, digits)
        exponent = point + 1 - at
        if exponent == 0:
            return GIVE_UP, digits, 0
    if whole - exponent > SIGNIFICANT_MAX and _count_significant(start, at) > SIGNIFICANT_MAX:
        return GIVE_UP, digits, 0
    if at < stop and (load_byte(at) == SMALL_E or load_byte(at) == LARGE_E):
        at, power = _read_exponent(at + 1, stop)
        exponent += power
    return at, digits, exponent


@inlined
def _count_significant(start: int, stop: int) -> int:
    """Digits from the first that is not zero."""
    count = 0
    for at in range(start, stop):
        count += load_byte(at) != POINT and (count > 0 or load_byte(at) != ZERO)
    return count


@inlined
def _read_exponent(at: int, stop: int) -> tuple[int, int]:
    is_negative = at < stop and load_byte(at) == MINUS
    if at < stop and (load_byte(at) == MINUS or load_byte(at) == PLUS):
        at += 1
    start = at
    power = 0
    while at < stop and ZERO <= load_byte(at) <= NINE and at - start < 4:
        power = power * 10 + load_byte(at) - ZERO
        at += 1
    if at == start or at - start == 4:
        return GIVE_UP, 0
    return at, -power if is_negative else power


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
def _round(digits: np.uint64, exponent: int) -> float:
    """The double nearest to digits * 10**exponent; 0 when that is not sure.

    Source: D. Lemire, "Number parsing at a gigabyte per second", 2021, algorithm 1.
    """
    if digits == _U(0) or not -EXPONENT_MAX <= exponent <= EXPONENT_MAX:
        return 0.0
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if digits >> _U(64 - step) == _U(0):
            digits <<= _U(step)
            zeros += step
    high, low = _multiply(digits, POWERS[exponent + EXPONENT_MAX, 0])
    if high & _U(0x1FF) == _U(0x1FF):  # the lower half of the power may decide
        more, _ = _multiply(digits, POWERS[exponent + EXPONENT_MAX, 1])
        low += more
        if more > low:
            high += _U(1)
    if low == _U(0xFFFF_FFFF_FFFF_FFFF):
        return 0.0  # more bits of the power would have to decide
    upper = high >> _U(63)
    mantissa = high >> (upper + _U(9))
    may_tie = low <= _U(1) and TIE_MIN <= exponent <= TIE_MAX
    if may_tie and mantissa & _U(3) == _U(1) and mantissa << (upper + _U(9)) == high:
        mantissa &= ~_U(1)  # half-way between two doubles, and the even one is below
    power = ((217706 * exponent) >> 16) + 11 + as_index(upper) - zeros
    nearest: float = np.float64((mantissa + (mantissa & _U(1))) >> _U(1))
    return nearest * TWO_POWERS[power + TWO_POWER_MAX]  # type: ignore[no-any-return]
