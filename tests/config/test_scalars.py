from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.config.scalars import Scalar, resolve, substitute


@pytest.mark.parametrize("text", ["no", "on", "off", "y", "Yes", "NO"])
def test_yes_and_no_are_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize("text", ["1:30", "017", "0o17", "0x1F", "1_000", "1e999", ".inf", ".nan"])
def test_numbers_of_other_notations_are_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-17", -17),
        ("+8", 8),
        ("1.5", 1.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("2.5E-3", 0.0025),
        ("9" * 19, 10**19 - 1),
        ("9" * 20, "9" * 20),
        ("5ms", "5ms"),
    ],
)
def test_plain_scalars_have_one_meaning(text: str, value: Scalar) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_a_round_trip(number: float) -> None:
    assert resolve(repr(number)) == number


@given(st.text(max_size=40))
def test_any_text_resolves(text: str) -> None:
    assert resolve(text) in (None, True, False) or isinstance(resolve(text), str | int | float)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y2"),
        ("${A:-9}", "1"),
        ("${C:-9}", "9"),
        ("${EMPTY:-9}", "9"),
        ("${EMPTY}", ""),
        ("${C:-}", ""),
        ("${C:-a/b:c}", "a/b:c"),
        ("$A $", "$A $"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
    ],
)
def test_variables_are_replaced(text: str, value: str) -> None:
    assert substitute(text, {"A": "1", "B": "2", "EMPTY": ""}) == value


def test_what_a_variable_holds_is_not_replaced_again() -> None:
    assert substitute("${A}", {"A": "${B}", "B": "2"}) == "${B}"


@pytest.mark.parametrize("text", ["${}", "${1}", "${A", "${A-b}", "${A:-${B}}", "${ A }"])
def test_malformed_variable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no variable"):
        substitute(text, {"A": "1", "B": "2"})


def test_unset_variable_without_default_is_refused() -> None:
    with pytest.raises(ValueError, match=r"NOPE is not set; .*\$\{NOPE:-value\}"):
        substitute("${NOPE}", {})
