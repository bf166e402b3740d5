"""Which trace contexts are taken along."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from sedp.daemon.traces import STATE_CHARS_MAX, read_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("parent", [GOOD, GOOD[:-2] + "00", f"01{GOOD[2:]}", f"cc{GOOD[2:]}-more"])
def test_valid_trace_is_taken_along_as_it_came(parent: str) -> None:
    trace = read_trace(CIMultiDict({"Traceparent": parent, "TraceState": "a=1,b=2"}))
    assert trace is not None
    assert trace.id == TRACE
    assert trace.headers() == {"traceparent": parent, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + "-more",
        GOOD + " ",
        f"ff{GOOD[2:]}",
        f"0x{GOOD[2:]}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"01{GOOD[2:]}-",
        f"01{GOOD[2:]}more",
        f"01{GOOD[2:]}-" + "x" * 500,
    ],
)
def test_invalid_parent_is_as_good_as_none(parent: str) -> None:
    assert read_trace(CIMultiDict({"traceparent": parent, "tracestate": "a=1"})) is None


def test_two_parents_are_none() -> None:
    assert read_trace(CIMultiDict([("traceparent", GOOD), ("traceparent", GOOD)])) is None


def test_several_states_are_joined_in_order() -> None:
    headers = [("traceparent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")]
    trace = read_trace(CIMultiDict(headers))
    assert trace is not None
    assert trace.state == "a=1,b=2"


@pytest.mark.parametrize("state", ["a=\x01", "ä=1", "a" * (STATE_CHARS_MAX + 1)])
def test_state_that_is_not_fit_is_left_out(state: str) -> None:
    trace = read_trace(CIMultiDict({"traceparent": GOOD, "tracestate": state}))
    assert trace is not None
    assert trace.headers() == {"traceparent": GOOD}


def test_state_alone_says_nothing() -> None:
    assert read_trace(CIMultiDict({"tracestate": "a=1"})) is None
