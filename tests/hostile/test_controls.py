"""Planted faults that the suites must find: a suite that finds nothing anywhere proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.hostile import framing, framing_grammar, json_grammar, tensor_grammar
from tests.hostile.campaign import attack
from tests.hostile.case import Case, Report
from tests.hostile.served import Served, serve, serve_naively


@pytest.fixture
def naive(tmp_path: Path) -> Iterator[Served]:
    with serve_naively(tmp_path) as running:
        yield running


@pytest.fixture
def brittle(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path, brittle=True) as running:
        yield running


def to_brittle(value: int, count: int) -> Iterator[Case]:
    """Good requests to the stage with the planted faults."""
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[%d]}]}' % value
    for _ in range(count):
        yield Case("brittle", json_grammar.post("brittle", body))


@pytest.mark.parametrize(
    ("value", "count", "finding"),
    [(500, 20, "5xx"), (501, 10, "health"), (502, 100, "RSS"), (503, 20, "died")],
)
def test_a_brittle_stage_is_found(brittle: Served, value: int, count: int, finding: str) -> None:
    assert attack(brittle, to_brittle(1, count), count).findings == []
    report = attack(brittle, to_brittle(value, count), count)
    assert report.found[finding], report


def test_the_json_suite_finds_a_naive_reader(naive: Served) -> None:
    report = attack(naive, json_grammar.cases(Random(1), 300), 300)
    assert_found(report, "5xx", "leak", "error body", "wrong answer")


def test_the_tensor_suite_finds_a_naive_reader(naive: Served) -> None:
    report = attack(naive, tensor_grammar.cases(Random(1), 300), 300)
    assert_found(report, "5xx", "leak", "error body", "refused")


def test_the_framing_suite_finds_a_naive_parser(naive: Served) -> None:
    report = framing.attack(naive, islice(framing_grammar.frames(Random(1), 93), 93))
    assert_found(report, "smuggled", "accepted", "went on")


def assert_found(report: Report, *findings: str) -> None:
    assert set(findings) <= report.found.keys(), report
