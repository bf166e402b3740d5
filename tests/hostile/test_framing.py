"""HTTP framing on which parsers disagree, each case on a connection of its own (`SEDP_FRAMING`)."""

from __future__ import annotations

from tests.hostile.counts import count, dice
from tests.hostile.framing import attack
from tests.hostile.framing_grammar import frames
from tests.hostile.served import Served

COUNT = count("FRAMING", 900)


def test_ambiguous_framing_is_refused_and_nothing_smuggled(served: Served) -> None:
    report = attack(served, frames(dice("FRAMING"), COUNT))
    assert report.cases == COUNT
    assert not report.findings, report
