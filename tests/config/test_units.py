from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sedp.units import (
    BYTE_UNITS,
    BYTES,
    DURATION,
    DURATION_UNITS,
    HOUR,
    MIB,
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    SECOND,
    TextForm,
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("5ms", 5 * MILLISECOND),
        ("1.5s", 1_500 * MILLISECOND),
        ("250us", 250 * MICROSECOND),
        ("0ms", 0),
        ("2 m", 2 * MINUTE),
        ("1h", HOUR),
        ("0.000000001s", 1),
        ("999999999999999999ns", 10**18 - 1),
    ],
)
def test_duration_is_exact_nanoseconds(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "count"),
    [("256MiB", 256 * MIB), ("64KB", 64_000), ("1.5KiB", 1536), ("4096", 4096), ("0B", 0)],
)
def test_size_is_exact_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "5", "ms", "-5ms", "1e3ms", "5 minutes", "5MS", "५ms", "5ms\n"]
)
def test_what_is_no_duration_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape("5ms or 1.5s (units: ns, us, ms, s, m, h)")):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "1.5", "MiB", "-1MiB", "64mb", "16M", "1 000KB", "１MiB"])
def test_what_is_no_size_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape("(units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)")
    ):
        parse_bytes(text)


@pytest.mark.parametrize(("parse", "text"), [(parse_duration, "0.5ns"), (parse_bytes, "1.3KiB")])
def test_fractions_of_the_smallest_unit_are_refused(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(ValueError, match=r"no whole number of (ns|B)"):
        parse(text)


@given(st.integers(0, 2**62))
@example(90 * SECOND)
@example(1_000_000_001)
def test_durations_survive_a_round_trip(ns: int) -> None:
    text = format_duration(ns)
    assert parse_duration(text) == ns
    assert re.search(DURATION.pattern, text)


@given(st.integers(0, 2**50))
def test_sizes_survive_a_round_trip(count: int) -> None:
    text = format_bytes(count)
    assert parse_bytes(text) == count
    assert re.search(BYTES.pattern, text)


@given(st.integers(0, 10**9), st.sampled_from([*DURATION_UNITS]))
def test_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * DURATION_UNITS[unit]


@given(st.integers(0, 10**9), st.sampled_from([*BYTE_UNITS]))
def test_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_bytes(f"{number}{unit}") == number * BYTE_UNITS[unit]


@pytest.mark.parametrize("form", [DURATION, BYTES], ids=lambda form: form.name)
@given(text=st.text("0123456789.KMGTiBbnushm -", max_size=12))
def test_pattern_and_parser_agree(form: TextForm, text: str) -> None:
    """The editor must not accept what the loader refuses, but for fractions it cannot see."""
    try:
        form.parse(text)
        refusal = ""
    except ValueError as err:
        refusal = str(err)
    if re.search(form.pattern, text):
        assert refusal == "" or "no whole number" in refusal
    else:
        assert refusal or (form.bare and text.isdigit())
