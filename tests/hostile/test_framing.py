"""HTTP framing on which parsers disagree, each case on a connection of its own (`SEDP_FRAMING`)."""

from __future__ import annotations

import pytest

from tests.hostile.case import Must
from tests.hostile.counts import count, dice
from tests.hostile.frame import BODY, CHUNKED, SMUGGLED_ID, Frame, chunked, post
from tests.hostile.framing import attack
from tests.hostile.framing_grammar import frames
from tests.hostile.served import Served

COUNT = count("FRAMING", 900)


def test_ambiguous_framing_is_refused_and_nothing_smuggled(served: Served) -> None:
    report = attack(served, frames(dice("FRAMING"), COUNT))
    assert report.cases == COUNT
    assert not report.findings, report


TRAILER = chunked(BODY)[:-2] + b"X-Request-Id: " + SMUGGLED_ID + b"\r\n\r\n"
BROKEN_EXTENSION = b"42;" + b"a=b;" * 100_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
FAILED_ONCE = {
    "a trailer became the first header of the next request": Frame(post(CHUNKED, body=TRAILER)),
    "a broken chunk behind the first segment was waited for": Frame(
        post(CHUNKED, body=BROKEN_EXTENSION), Must.REFUSE
    ),
}


@pytest.mark.parametrize("frame", FAILED_ONCE.values(), ids=FAILED_ONCE.keys())
def test_what_failed_once_is_refused_now(served: Served, frame: Frame) -> None:
    report = attack(served, [("kept", frame)])
    assert report.cases == 1
    assert not report.findings, report
