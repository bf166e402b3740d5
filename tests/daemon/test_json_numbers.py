"""Numbers are read as Python reads them, to the last bit, or left to the general reader."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.columns import Array
from sedp.daemon.oip.json_numbers import read_floats, read_integers
from sedp.daemon.oip.powers_of_five import EXPONENT_MAX, leading_bits

F8, F4, I8 = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64)
DECIMALS = 100_000  # of each kind; a million were tried once


def floats(text: str, shape: list[int], dtype: np.dtype[np.generic] = F8) -> Array | None:
    return read_floats(np.frombuffer(text.encode(), np.uint8), shape, dtype)


def integers(text: str, shape: list[int], dtype: np.dtype[np.generic] = I8) -> Array | None:
    return read_integers(np.frombuffer(text.encode(), np.uint8), shape, dtype)


def check_decimals(decimals: Iterable[str]) -> None:
    """All are read at once, and equal what Python makes of them."""
    texts = list(decimals)
    have = floats(f"[{','.join(texts)}]", [len(texts)])
    assert have is not None
    due = np.array([float(text) for text in texts])
    wrong = np.flatnonzero(have.view(np.uint64) != due.view(np.uint64))
    assert not len(wrong), [texts[place] for place in wrong[:5]]


def test_decimals_of_any_length_are_rounded_as_python_does() -> None:
    dice = random.Random(1)
    check_decimals(
        f"{dice.randrange(10 ** dice.randrange(1, 10))}.{dice.randrange(10**9)}"
        f"e{dice.randrange(-40, 50)}"
        for _ in range(DECIMALS)
    )


def test_what_clients_write_for_floats_is_read_back() -> None:
    dice = np.random.default_rng(1)
    doubles = dice.standard_normal(DECIMALS) * 10.0 ** dice.integers(-30, 30, DECIMALS)
    check_decimals(map(repr, doubles.tolist()))
    check_decimals(map(repr, dice.random(DECIMALS).astype(np.float32).tolist()))
    check_decimals(map(str, dice.random(DECIMALS, np.float32)))


def test_ties_go_to_the_even_neighbour() -> None:
    dice = random.Random(2)
    mantissas = [dice.getrandbits(52) | 1 << 52 for _ in range(DECIMALS // 4)]
    check_decimals(str(2 * mantissa + 1) for mantissa in mantissas)
    check_decimals(f"{mantissa}.5" for mantissa in mantissas)
    check_decimals(f"{mantissa // 8}.{dice.choice([125, 375, 625, 875])}" for mantissa in mantissas)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_any_float_is_read_right_or_not_at_all(values: list[float]) -> None:
    have = floats(json.dumps(values), [len(values)])
    if have is not None:
        assert have.tobytes() == np.array(values).tobytes()


@given(st.lists(st.integers(-(2**64), 2**64), min_size=1, max_size=5))
def test_any_integer_is_read_right_or_not_at_all(values: list[int]) -> None:
    have = integers(json.dumps(values), [len(values)])
    if have is not None:
        assert have.tolist() == values
    else:
        assert max(map(abs, values)) >= 10**18


@given(st.text(st.sampled_from('[]0123456789.,eE+- "\ta'), max_size=24))
def test_what_is_read_is_what_json_says(text: str) -> None:
    """Whatever the text: read means equal to Python's own reader, on a list of that length."""
    for count in (1, 2, 3):
        for read, kinds in ((floats, (int, float)), (integers, (int,))):
            have = read(text, [count])
            if have is not None:
                values = json.loads(text)
                assert all(type(value) in kinds for value in values)
                assert have.tolist() == values


def test_zeros_in_front_do_not_count_as_digits() -> None:
    check_decimals(f"0.{'0' * zeros}1234567890123456789" for zeros in range(30))
    check_decimals(["0." + "0" * 22, "0.0000000000000000000099"])
    for text in ("[99999999999999999999]", "[0.12345678901234567890]", "[9.9999999999999999999]"):
        assert floats(text, [1]) is None


@pytest.mark.parametrize("shape", [[6], [2, 3], [1, 6], [1, 2, 3], [6, 1]])
def test_nesting_follows_the_shape(shape: list[int]) -> None:
    values = np.arange(6.0).reshape(shape)
    for text in (json.dumps(values.tolist()), json.dumps(values.tolist(), indent=1)):
        have = floats(text, shape)
        assert have is not None
        assert have.tolist() == [0, 1, 2, 3, 4, 5]
    for wrong in ([5], [7], [3, 2], [2, 2], [2, 3, 1], [1, 7]):
        assert wrong == shape or floats(json.dumps(values.tolist()), wrong) is None


@pytest.mark.parametrize(
    "text",
    [
        *("[01]", "[.5]", "[5.]", "[1e]", "[+1]", "[-]", "[1.0.0]", "[0x1]", "[1e99999]"),
        *("[1", "[1]]", "[1,]", "[,1]", "[1 2]", "[1]x", "1", "", "[" * 10_000),
        *("[NaN]", '["1"]', "[true]", "[null]"),
    ],
)
def test_what_is_not_plain_is_left_to_others(text: str) -> None:
    assert floats(text, [1]) is None
    assert integers(text, [1]) is None


def test_integers_out_of_range_are_left_to_others() -> None:
    byte = np.dtype(np.int8)
    assert integers("[127, -128]", [2], byte) is not None
    assert integers("[128]", [1], byte) is None
    assert integers("[-129]", [1], byte) is None
    assert integers("[-1]", [1], np.dtype(np.uint64)) is None
    assert integers("[1.0]", [1]) is None


def test_a_float_too_large_for_its_type_is_infinite() -> None:
    have = floats("[1e39]", [1], F4)
    assert have is not None
    assert np.isinf(have[0])


def test_powers_have_128_bits_and_are_never_too_small() -> None:
    for exponent in range(-EXPONENT_MAX, EXPONENT_MAX + 1):
        bits = leading_bits(exponent)
        assert bits.bit_length() == 128
        if exponent < 0:
            shift = 127 + (5**-exponent).bit_length()
            assert (bits - 1) * 5**-exponent < 1 << shift <= bits * 5**-exponent
