"""The walk over sections, with types that a stage's author may use in Params."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.stage import Params
from sedp.units import MIB, MILLISECOND, SECOND, byte_count, duration


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Range(msgspec.Struct, frozen=True):
    """Its author forgot forbid_unknown_fields."""

    low: int
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; swap them")


class Everything(Params, frozen=True, kw_only=True):
    wait_ns: Annotated[int, duration(0, SECOND, "Wait.")] = msgspec.field(default=0, name="wait")
    cache_bytes: Annotated[int, byte_count(1, MIB, "Cache.")] | None = None
    range: Range | None = None
    ranges: list[Range] = msgspec.field(default_factory=list)
    pair: tuple[int, int] = (0, 0)
    many: tuple[int, ...] = ()
    few: Annotated[list[str], Meta(min_length=1, max_length=2)] | None = None
    weights: dict[str, Annotated[float, Meta(ge=0)]] = msgspec.field(default_factory=dict)
    by_id: dict[int, str] = msgspec.field(default_factory=dict)
    colour: Colour = Colour.RED
    mode: Literal["auto", 1] = "auto"
    names: frozenset[str] = frozenset()
    flag: bool = False
    other: Any = None


@pytest.fixture
def check(write: Callable[[str], Path]) -> Callable[[str], tuple[Everything | None, list[str]]]:
    def decode_text(text: str) -> tuple[Everything | None, list[str]]:
        faults = Faults(read_document(write(text), {}))
        decoded = decode(faults.document.tree, Everything, (), faults)
        return decoded, [message.partition("config.yaml:")[2] for _, message in faults.found]

    return decode_text


Check = Callable[[str], tuple[Everything | None, list[str]]]


def test_every_type_decodes(check: Check) -> None:
    text = """
wait: 5ms
cache_bytes: 64KB
range: {low: 3}
ranges: [{low: 1, high: 2}]
pair: [1, 2]
many: [1, 2, 3]
few: [x, y]
weights: {a: 1, b: 0.5}
by_id: {7: seven}
colour: blue
mode: 1
names: [a, b]
flag: true
other: {x: [1]}
"""
    decoded, faults = check(text)
    assert faults == []
    assert decoded == Everything(
        wait_ns=5 * MILLISECOND,
        cache_bytes=64_000,
        range=Range(3),
        ranges=[Range(1, 2)],
        pair=(1, 2),
        many=(1, 2, 3),
        few=["x", "y"],
        weights={"a": 1.0, "b": 0.5},
        by_id={7: "seven"},
        colour=Colour.BLUE,
        mode=1,
        names=frozenset({"a", "b"}),
        flag=True,
        other={"x": [1]},
    )


def test_empty_mapping_gives_the_defaults(check: Check) -> None:
    assert check("{}") == (Everything(), [])


def test_null_is_a_value_only_where_it_is_allowed(check: Check) -> None:
    assert check("cache_bytes: null\nrange: ~\nother:") == (Everything(), [])
    assert check("flag:")[1] == ["1:6: flag: an empty value does not fit; write true or false"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("range: {low: 1, hihg: 2}", "1:17: range.hihg: unknown key; did you mean 'high'?"),
        ("range: {low: 8, high: 2}", "1:1: range: low 8 is above high 2; swap them"),
        ("range: {}", "1:1: range: key 'low' is missing; add low: a whole number"),
        ("range: 3", "1:8: range: 3 does not fit; write a mapping with keys of: low, high"),
        ("ranges: [{low: 1}, {low: x}]", "1:26: ranges[1].low: 'x' does not fit; write a whole"),
        ("few: []", "1:1: few: a list of 0 does not fit; write a list of 1 to 2 entries"),
        ("few: [a, b, c]", "1:1: few: a list of 3 does not fit; write a list of 1 to 2"),
        ("many: {a: 1}", "1:1: many: a mapping of 1 does not fit; write a list"),
        ("weights: {a: -1}", "1:14: weights.a: -1 does not fit; write a number, at least 0"),
        ("weights: [1]", "1:1: weights: a list of 1 does not fit; write a mapping"),
        ("by_id: {seven: x}", "1:9: by_id.seven: 'seven' does not fit; write a whole number"),
        (
            "colour: blu",
            "1:9: colour: 'blu' does not fit; did you mean 'blue'?; write one of red, b",
        ),
        (
            "mode: atuo",
            "1:7: mode: 'atuo' does not fit; did you mean 'auto'?; write one of 1, auto",
        ),
        (
            "cache_bytes: 2MiB",
            "1:14: cache_bytes: '2MiB' does not fit; write a size like 256MiB from",
        ),
        (
            "wait: [1]",
            "1:1: wait: a list of 1 does not fit; write a duration like 5ms from 0s to 1s",
        ),
        ("wait: true", "1:7: wait: true does not fit; write a duration like 5ms from 0s to 1s"),
        ("flag: yes", "1:7: flag: 'yes' does not fit; write true or false"),
        ("names: [1]", "1:1: names: Expected `str`, got `int` - at `$[0]`"),
        ("pair: [1]", "1:1: pair: a list of 1 does not fit; write"),
        (f"flag: {'x' * 999}", f"1:7: flag: 'xxxxxxxxxxx{'x' * 48}… does not fit; write"),
    ],
)
def test_what_does_not_fit_is_told_in_words(text: str, fault: str, check: Check) -> None:
    decoded, faults = check(text)
    assert decoded is None
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_all_faults_of_all_sections_are_found(check: Check) -> None:
    _, faults = check("wiat: 1\nrange: {high: x, lo: 1}\nranges: [1, {low: 1, high: y}]\nflag: 1")
    assert [fault.split(": ")[1] for fault in faults] == [
        "wiat",
        "range.lo",
        "range",
        "range.high",
        "ranges[0]",
        "ranges[1].high",
        "flag",
    ]
