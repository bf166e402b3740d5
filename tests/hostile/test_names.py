"""Names that could be paths, on both planes (`SEDP_NAMES=5000`): nothing may be opened for them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.hostile.campaign import attack
from tests.hostile.case import Report
from tests.hostile.counts import count, dice
from tests.hostile.name_grammar import MARK, cases
from tests.hostile.served import ROOT, Served, serve, serve_naively

COUNT = count("NAMES", 1_200)
WATCHED = r"^[\w.]+ [bB]?(?:PosixPath\()?['\"](.*?)['\"]\)?$"
# What a Python process reads for itself: its modules, when first needed, and its own figures.
OWN = [sys.prefix, sys.base_prefix, str(ROOT), "/proc/self/", "/sys/fs/cgroup", "/dev/null"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as running:
        yield running


def opened_outside(served: Served, started: int) -> list[str]:
    """What was opened, listed or run since `started`, and is none of the server's business."""
    own = (*OWN, f"/proc/{served.process.pid}/", str(served.folder))
    found = []
    for line in opened(served)[started:]:
        named = re.search(WATCHED, line)
        path = os.path.normpath(named[1]) if named else line
        if MARK in line or "passwd" in line or not path.startswith(own):
            found.append(line)
    return found


def opened(served: Served) -> list[str]:
    return served.opened.read_text(errors="backslashreplace").splitlines()


def attack_both(served: Served, total: int, dice: Random) -> list[Report]:
    """Half of the cases to each plane, each on a connection of its own."""
    half = total // 2
    return [
        attack(served, cases(dice, half), half, to=plane, at_once=1)
        for plane in (served.data, served.admin)
    ]


def test_no_name_opens_a_file(served: Served) -> None:
    started = len(opened(served))
    assert started
    reports = attack_both(served, COUNT, dice("NAMES"))
    assert [report.cases for report in reports] == [COUNT // 2] * 2
    assert not [finding for report in reports for finding in report.findings], reports
    assert not opened_outside(served, started)


def test_a_name_that_opens_a_file_is_found(tmp_path: Path) -> None:
    with serve_naively(tmp_path) as naive:
        leading = [case for case in cases(Random(1), 20_000) if b"passwd" in case.sent[:60]]
        attack(naive, leading, len(leading), at_once=1)
        outside = opened_outside(naive, 0)
    assert any("passwd" in line for line in outside), outside
