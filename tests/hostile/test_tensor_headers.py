"""Tensor headers that lie, sent over raw sockets (`SEDP_TENSORS=20000`)."""

from __future__ import annotations

from tests.hostile.campaign import attack
from tests.hostile.counts import count, dice
from tests.hostile.served import Served
from tests.hostile.tensor_grammar import cases

COUNT = count("TENSORS", 2_000)


def test_lying_headers_are_refused_or_answered_right(served: Served) -> None:
    report = attack(served, cases(dice("TENSORS"), COUNT), COUNT)
    assert report.cases == COUNT
    assert not report.findings, report
