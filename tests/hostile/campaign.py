"""Runs attacks against a server and watches it all the while: alive, in time, not growing."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.hostile.case import Case, Report
from tests.hostile.connection import Connection
from tests.hostile.responses import Closed, NotHttp, Response
from tests.hostile.served import HERE, Address, Served

PIPELINED_MAX = 64  # requests on their way at once
PIPELINED_BYTES_MAX = 1 << 17  # more could fill both directions, and each side wait for the other
HEALTH_P99_S = 0.05
GROWTH_MAX = 1.1
WARM_UP = 0.1  # of the cases: what the server keeps for good is there after these


@contextmanager
def watched(served: Served, report: Report) -> Iterator[None]:
    """Ask for health meanwhile, and write down what is wrong with the server afterwards."""
    command = [sys.executable, str(HERE / "health_probe.py"), served.data[0], str(served.data[1])]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as probe:
        yield
        said, _ = probe.communicate()
    health = json.loads(said)
    allowed_s = HEALTH_P99_S * health["stretch"] + health["machine"]  # others may be busy
    report.figures |= {"health_p99_s": health["p99"], "health_allowed_s": allowed_s}
    if not served.is_alive:
        report.find("died", None, served.process.returncode)
    elif health["failures"]:
        report.find("health", None, f"{health['failures']} of {health['asked']} questions failed")
    elif health["p99"] > allowed_s:
        report.find("health", None, f"p99 {health['p99']:.3f} s; {allowed_s:.3f} s are allowed")


def attack(
    served: Served,
    cases: Iterable[Case],
    total: int,
    *,
    to: Address | None = None,
    at_once: int = PIPELINED_MAX,
) -> Report:
    """Send all cases, pipelined on few connections, and judge every response.

    Args:
        total: of the cases; the first of them warm the server up.
        to: where to send them; the data plane if not given.
        at_once: on one connection; 1 for cases that may end it.
    """
    report = Report()
    left = iter(cases)
    address = to or served.data
    with watched(served, report):
        _send_all(address, itertools.islice(left, int(total * WARM_UP)), report, at_once)
        before = served.rss_bytes
        _send_all(address, left, report, at_once)
        compare_rss(served, before, report)
    return report


def compare_rss(served: Served, before: int, report: Report) -> None:
    """Write down growth."""
    after = served.rss_bytes
    report.figures |= {"rss_before": before, "rss_after": after}
    if after > before * GROWTH_MAX:
        report.find("RSS", None, f"{before >> 20} MiB before, {after >> 20} MiB after")


def _send_all(address: Address, cases: Iterable[Case], report: Report, at_once: int) -> None:
    waiting: list[Case] = []
    for case in cases:
        report.cases += 1
        waiting.append(case)
        size = sum(len(case.sent) for case in waiting)
        if len(waiting) == at_once or size > PIPELINED_BYTES_MAX:
            _send(address, waiting, report)
            waiting = []
    _send(address, waiting, report)


def _send(address: Address, cases: list[Case], report: Report) -> None:
    """Send cases on one connection, and on another what was left when the server closed it."""
    alone = False
    while cases:
        answered = _converse(address, cases[:1] if alone else cases, report)
        if not answered and alone:
            report.find("no answer", cases[0])
            answered = 1
        alone = not answered
        cases = cases[answered:]


def _converse(address: Address, cases: list[Case], report: Report) -> int:
    """How many of the cases were answered before the connection ended."""
    try:
        with Connection(address) as connection:
            connection.send(b"".join(case.sent for case in cases))
            for answered, case in enumerate(cases):
                try:
                    response: Response = connection.receive()
                except Closed:
                    return answered
                report.judge(case, response)
                if response.closes:
                    return answered + 1
    except (NotHttp, OSError) as err:  # OSError: nothing listens any more, or nothing comes
        report.find("no answer", cases[0], repr(err))
        return len(cases)
    return len(cases)
