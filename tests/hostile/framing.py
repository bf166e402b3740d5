"""Sends frames, each on a connection of its own with a canary behind it, and judges the answers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from tests.hostile.campaign import compare_rss, watched
from tests.hostile.case import Case, Must, Report
from tests.hostile.connection import exchange
from tests.hostile.frame import CANARY, CANARY_ID, SMUGGLED_ID, Frame
from tests.hostile.responses import NotHttp, Response, read_all
from tests.hostile.served import Address, Served

AT_ONCE = 8
# A server that is busy must not be taken for one that waits for more; one that got only a part of
# a request does wait.
PATIENCE_S = 3.0
PATIENCE_CUT_S = 0.05
WARM_UP = 90
PORTION = 1_000  # frames made ahead, as some are large

Named = tuple[str, Frame]


def attack(served: Served, frames: Iterable[Named]) -> Report:
    """Send all frames, some at once; the first ones warm the server up."""
    report = Report()
    left = iter(frames)
    with watched(served, report), ThreadPoolExecutor(AT_ONCE) as pool:
        before = 0
        while portion := list(islice(left, PORTION if before else WARM_UP)):
            for case, frame, stream in pool.map(lambda item: _send(served.data, item), portion):
                report.cases += 1
                judge(report, case, frame, stream)
            before = before or served.rss_bytes
        compare_rss(served, before, report)
    return report


def _send(address: Address, named: Named) -> tuple[Case, Frame, bytes]:
    kind, frame = named
    sent = frame.sent + CANARY
    try:
        stream = exchange(address, sent, PATIENCE_CUT_S if frame.is_cut else PATIENCE_S)
    except OSError:
        stream = b""  # nobody listens any more
    return Case(kind, frame.sent, frame.must), frame, stream


def judge(report: Report, case: Case, frame: Frame, stream: bytes) -> None:
    """Look at all that came back on one connection."""
    try:
        responses = read_all(stream, frame.to_head)
    except NotHttp as err:
        report.find("not HTTP", case, err)
        return
    if not responses and not frame.is_cut:
        report.find("no answer", case)
    for at, response in enumerate(responses):
        is_first = at == 0 and not _is(response, CANARY_ID)
        asked = case if is_first else case._replace(must=Must.EITHER)
        report.judge(asked, response, to_head=at in frame.to_head)
        if _is(response, SMUGGLED_ID):
            report.find("smuggled", case, response)
        if response.closes and at + 1 < len(responses):
            report.find("spoke after closing", case, responses[at + 1])
    if frame.must is Must.REFUSE and any(_is(response, CANARY_ID) for response in responses):
        report.find("went on", case, "the connection must end with what was refused")
    if frame.answers and responses and all(r.status == 200 for r in responses):
        _check_count(report, case, frame, responses)


def _check_count(report: Report, case: Case, frame: Frame, responses: list[Response]) -> None:
    """Every request is answered, unless an answer says that the connection ends with it."""
    last = responses[-1]
    whole = len(responses) == frame.answers + 1 and _is(last, CANARY_ID)
    if not whole and (_is(last, CANARY_ID) or not last.closes):
        report.find("count", case, f"{len(responses)} answers to {frame.answers} and a canary")


def _is(response: Response, id_: bytes) -> bool:
    return response.header("x-request-id") == id_.decode()
