"""JSON bodies broken by grammar, sent over raw sockets (`SEDP_JSON=50000`)."""

from __future__ import annotations

from tests.hostile.campaign import attack
from tests.hostile.counts import count, dice
from tests.hostile.json_grammar import cases
from tests.hostile.served import Served

COUNT = count("JSON", 3_000)


def test_broken_json_is_refused_and_hurts_nobody(served: Served) -> None:
    report = attack(served, cases(dice("JSON"), COUNT), COUNT)
    assert report.cases == COUNT
    assert not report.findings, report
