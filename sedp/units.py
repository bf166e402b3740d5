"""Scalars that YAML writes as text: "5ms" and "256MiB" outside, plain integers inside.

A number without its unit is how "200" becomes 200 seconds in one program and 200 milliseconds in
the next. So durations are refused without a unit, sizes count bytes, and both become exact
integers (decimal arithmetic, never floats). A `TextForm` says all there is to say about one such
scalar; the decoder, the error messages and the JSON Schema take it from there.

A stage's own params use the same forms: `wait_ns: Annotated[int, duration(0, SECOND, "…")]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec import Meta

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

DURATION_UNITS: Mapping[str, int] = {
    "ns": 1,
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
BYTE_UNITS: Mapping[str, int] = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": TIB,
}
FORM_KEY = "x-text-form"  # where annotations carry a field's form
# 18 digits hold 31 years of nanoseconds; 9 decimals reach a nanosecond from a second.
_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"


@dataclass(frozen=True, slots=True)
class TextForm:
    """How YAML writes one kind of scalar.

    Args:
        name: of the form, unique.
        expected: completes "write …", e.g. `a duration like 5ms`.
        pattern: regular expression, ECMA and Python alike, of the texts that `parse` reads.
        parse: from the text (a bare number as its digits) to the value; raises `ValueError`
            with the mend.
        render: from the value back to a text that `parse` reads.
        type: of the value.
        bare: whether `parse` reads bare whole numbers too.
    """

    name: str
    expected: str
    pattern: str
    parse: Callable[[str], Any]
    render: Callable[[Any], str]
    type: type = int
    bare: bool = False

    def meta(self, description: str, ge: int | None = None, le: int | None = None) -> Meta:
        """Annotation of a field that is written in this form."""
        return Meta(
            ge=ge,
            le=le,
            description=description,
            extra={FORM_KEY: self},
            extra_json_schema={FORM_KEY: self.name},
        )


def parse_duration(text: str) -> int:
    """Nanoseconds of `"5ms"`, `"1.5s"`, `"250us"`.

    Raises:
        ValueError: no or unknown unit, or a fraction of a nanosecond.
    """
    return _parse(text, DURATION_UNITS, "a duration like 5ms or 1.5s")


def parse_bytes(text: str) -> int:
    """Bytes of `"256MiB"` or `"64KB"`; without a unit, bytes.

    Raises:
        ValueError: unknown unit, or a fraction of a byte.
    """
    number = re.fullmatch(r"[0-9]{1,18}", text)
    return int(text) if number else _parse(text, BYTE_UNITS, "a size like 256MiB or 64KB")


def format_duration(ns: int) -> str:
    """The text in the largest fitting unit that means exactly `ns`, e.g. `1.5ms`."""
    if ns == 0:
        return "0s"
    for unit in ("h", "m"):  # only when whole: 1/60 has no exact decimals
        if ns % DURATION_UNITS[unit] == 0:
            return f"{ns // DURATION_UNITS[unit]}{unit}"
    unit = next(unit for unit in ("s", "ms", "us", "ns") if ns >= DURATION_UNITS[unit])
    return f"{(Decimal(ns) / DURATION_UNITS[unit]).normalize():f}{unit}"


def format_bytes(count: int) -> str:
    """The text in the largest unit that means exactly `count`, e.g. `256MiB`."""
    binary = ("TiB", "GiB", "MiB", "KiB") if count else ()
    unit = next((unit for unit in binary if count % BYTE_UNITS[unit] == 0), "B")
    return f"{count // BYTE_UNITS[unit]}{unit}"


def _parse(text: str, units: Mapping[str, int], expected: str) -> int:
    mend = f"write {expected} (units: {', '.join(units)})"
    match = re.fullmatch(rf"({_NUMBER}) ?([A-Za-zµ]*)", text)
    if match is None:
        raise ValueError(f"{text!r} does not fit; {mend}")
    number, unit = match[1], match[2]
    if unit not in units:
        missing = f"has no unit; {number} of what?" if not unit else f"has unknown unit {unit!r};"
        raise ValueError(f"{text!r} {missing} {mend}")
    product = Decimal(number) * units[unit]
    if product != int(product):
        raise ValueError(f"{text!r} is no whole number of {next(iter(units))}; drop decimals")
    return int(product)


def _pattern(units: Mapping[str, int]) -> str:
    return f"^{_NUMBER} ?({'|'.join(units)})$"


DURATION = TextForm(
    "duration",
    "a duration like 5ms",
    _pattern(DURATION_UNITS),
    parse_duration,
    format_duration,
)
BYTES = TextForm(
    "bytes",
    "a size like 256MiB",
    _pattern(BYTE_UNITS),
    parse_bytes,
    format_bytes,
    bare=True,
)


def duration(low_ns: int, high_ns: int, description: str) -> Meta:
    """Annotation of an `int` field in nanoseconds that YAML writes like "5ms"."""
    return DURATION.meta(description, low_ns, high_ns)


def byte_count(low: int, high: int, description: str) -> Meta:
    """Annotation of an `int` field in bytes that YAML writes like "256MiB"."""
    return BYTES.meta(description, low, high)
