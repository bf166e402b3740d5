"""Compression bombs up to a GiB (`SEDP_BOMBS=200`): none may cost more than its share of memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random

from tests.hostile.bombs import MIB, Bomb, bombs
from tests.hostile.campaign import compare_rss, watched
from tests.hostile.case import Case, Must, Report
from tests.hostile.connection import exchange
from tests.hostile.counts import count, dice
from tests.hostile.responses import NotHttp, read_all
from tests.hostile.served import Served, serve_naively

COUNT = count("BOMBS", 60)
GROWTH_BYTES_MAX = 64 * MIB
PATIENCE_S = 10.0
WARM_UP = COUNT // 3  # until then each thread keeps a bit for its next body


def throw(served: Served, thrown: Iterable[Bomb]) -> Report:
    """One after the other, so that each one's memory can be told."""
    report = Report()
    with watched(served, report):
        start = 0
        for bomb in thrown:
            report.cases += 1
            before = served.rss_bytes
            if report.cases == WARM_UP:
                start = before
            served.forget_peak()
            _throw(served, bomb, report)
            if not served.is_alive:
                break
            grown = served.rss_peak_bytes - before
            report.figures["grown_max"] = max(grown, report.figures.get("grown_max", 0))
            if grown > GROWTH_BYTES_MAX:
                report.find(
                    "memory", None, f"{bomb.kind} of {bomb.plain_bytes}: +{grown >> 20} MiB"
                )
        else:
            compare_rss(served, start or before, report)
    return report


def _throw(served: Served, bomb: Bomb, report: Report) -> None:
    head = (
        f"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(bomb.body)}\r\n"
        f"Connection: close\r\nContent-Encoding: {bomb.encoding}\r\n\r\n"
    )
    case = Case(f"{bomb.kind} as {bomb.encoding}", head.encode() + bomb.body, Must.REFUSE)
    try:
        responses = read_all(exchange(served.data, case.sent, PATIENCE_S))
    except (NotHttp, OSError) as err:
        report.find("no answer", case, err)
        return
    if not responses:
        report.find("no answer", case)
    for response in responses:
        report.judge(case, response)


def test_bombs_are_refused_within_64_mib(served: Served) -> None:
    report = throw(served, bombs(dice("BOMBS"), COUNT))
    assert report.cases == COUNT
    assert not report.findings, report


def test_bombs_are_found_to_hurt_a_naive_reader(tmp_path: Path) -> None:
    with serve_naively(tmp_path) as naive:
        huge = [bomb for bomb in bombs(Random(1), 60) if bomb.plain_bytes == 256 * MIB]
        report = throw(naive, [bomb for bomb in huge if bomb.encoding == "gzip"][:2])
    assert {"memory", "5xx"} <= report.found.keys(), report
