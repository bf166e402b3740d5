"""What callers are told about events without an answer, and how much of it is logged."""

from __future__ import annotations

import logging

import pytest

from sedp.answer import Unanswered
from sedp.daemon.failures import LOG_LINE_GAP_NS, LOG_LINES_BURST, FailureLog, refuse
from sedp.engine.events import Outcome


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.QUEUE_FULL, 503),
        (Outcome.DEADLINE, 504),
        (Outcome.CANCELLED, 499),
        (Outcome.FAILED, 500),
        (Outcome.DRAINING, 503),
        (Outcome.SHED, 503),
        (Outcome.UNAVAILABLE, 503),
        (Outcome.QUARANTINED, 422),
    ],
)
def test_every_outcome_has_its_status(outcome: Outcome, status: int) -> None:
    refusal = refuse(Unanswered(outcome, "a-stage"))
    assert refusal.status == status
    assert ("Retry-After" in refusal.headers) == (status == 503)
    assert "a-stage" not in refusal.text


def test_waits_before_a_retry_are_spread() -> None:
    full = Unanswered(Outcome.QUEUE_FULL, "")
    assert {refuse(full).headers["Retry-After"] for _ in range(200)} == {"1", "2", "3"}


def test_a_log_gives_a_burst_and_then_a_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    now_ns = 5
    log = FailureLog(logging.getLogger("test"), lambda: now_ns)
    for _ in range(LOG_LINES_BURST + 7):
        log.write("bad")
    assert len(caplog.messages) == LOG_LINES_BURST
    assert log.lines_left_out == 7
    now_ns += LOG_LINE_GAP_NS
    log.write("bad")
    log.write("bad")
    assert caplog.messages[-1] == "bad (7 lines left out before this one)"
    assert len(caplog.messages) == LOG_LINES_BURST + 1
    assert log.lines_left_out == 8
    now_ns += LOG_LINE_GAP_NS
    log.write("bad")
    assert caplog.messages[-1] == "bad (1 lines left out before this one)"
