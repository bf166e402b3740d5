"""Callers that send or read slowly are cut off in time, and cost the others little.

With `SEDP_SLOW_ROUNDS`, rounds with and without them take turns, and the others' 99th percentile is
held against its goal, which a busy machine cannot keep.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.supervisor.tree import wait_for

from .callers import Callers
from .figures import tell
from .operated import infer_body, infer_request, operate
from .slowness import slow_clients

ROUNDS = int(os.environ.get("SEDP_SLOW_ROUNDS", "0"))
SENDERS = {"heads": 170, "bodies": 170, "idle": 160}
UNREAD = {"unread": 40}
ALL = sum(SENDERS.values()) + sum(UNREAD.values())
ANSWER_BYTES = 4 << 20
COPIES_MAX = 3  # of an answer: as the stage made it, and as it is sent; and what noise there is
KEPT_MAX = 0.5  # by the allocator, for others to come
MIB = 1 << 20
LATE_S = 10.0  # a busy machine may be late; an hour it is not
P99_RATIO_MAX = 1.5
WINDOW_S = 2.0
TIMEOUTS = ("head_timeout", "body_timeout", "keepalive_timeout", "write_timeout")
PIPELINES = {"double": "Double", "wide": "Wide; deadline: 1m"}
GOOD = infer_request("double", infer_body(1.0, 2.5))
HEAD_S = IDLE_S = WRITE_S = 2.0
BODY_S = 1.0 + 2.0  # until a rate is asked for, and to read why it ended


def test_slow_senders_are_cut_off_in_time_and_nobody_else_is(tmp_path: Path) -> None:
    limits = dict.fromkeys(TIMEOUTS, "2s")
    with operate(tmp_path, PIPELINES, **limits) as daemon, slow_clients(daemon, SENDERS) as slow:
        with Callers(daemon.data_port, [GOOD] * 4) as others:
            after = slow.wait_until_cut()
        wait_for(lambda: daemon.connections() == 0)
    assert others.failures == {}
    assert others.answered > 100
    assert {kind: len(seconds) for kind, seconds in after.items()} == SENDERS
    for kind, limit_s in {"heads": HEAD_S, "bodies": BODY_S, "idle": IDLE_S}.items():
        tell(f"{kind}: limit {limit_s} s, cut {min(after[kind]):.2f} … {max(after[kind]):.2f} s")
        assert max(after[kind]) < limit_s + LATE_S
    assert min(after["heads"]) > HEAD_S * 0.9
    assert min(after["idle"]) > IDLE_S * 0.9


def test_callers_that_never_read_are_cut_off_and_take_bounded_memory(tmp_path: Path) -> None:
    with (
        operate(tmp_path, PIPELINES, write_timeout="2s") as daemon,
        Callers(daemon.data_port, [GOOD] * 4) as others,
    ):
        wait_for(lambda: others.answered > 100)
        before = daemon.rss_bytes()
        daemon.forget_peaks()
        with slow_clients(daemon, UNREAD):
            cut_s = wait_for(lambda: daemon.connections() == 4)
        grown = daemon.peak_bytes() - before
        kept = daemon.rss_bytes() - before
    tell(
        f"unread: limit {WRITE_S} s, cut {cut_s:.2f} s; RSS at most "
        f"+{grown / MIB:.0f} MiB, then +{kept / MIB:.0f}"
    )
    answers = ANSWER_BYTES * UNREAD["unread"]
    assert others.failures == {}
    assert cut_s < WRITE_S + LATE_S
    assert grown < COPIES_MAX * answers
    assert kept < KEPT_MAX * answers


def test_without_limits_they_would_stay(tmp_path: Path) -> None:
    hours = dict.fromkeys(TIMEOUTS, "1h")
    kinds = {"heads": 5, "bodies": 5, "idle": 5, "unread": 5}
    with (
        operate(tmp_path, PIPELINES, **hours, body_rate_min=0) as daemon,
        slow_clients(daemon, kinds) as slow,
    ):
        assert not slow.one_is_cut(within_s=BODY_S + 0.5)
        assert daemon.connections() == 20


@pytest.mark.skipif(not ROUNDS, reason="SEDP_SLOW_ROUNDS sets how many")
@pytest.mark.timeout(0)
def test_others_wait_hardly_longer(tmp_path: Path) -> None:
    limits = dict.fromkeys(TIMEOUTS, "10s")
    quiet: list[tuple[float, float]] = []
    slow: list[tuple[float, float]] = []
    with (
        operate(tmp_path, PIPELINES, **limits, body_rate_min=0) as daemon,
        Callers(daemon.data_port, [GOOD] * 4) as others,
    ):
        for _ in range(ROUNDS):
            quiet.append(_window())
            with slow_clients(daemon, SENDERS | UNREAD):
                wait_for(lambda: daemon.connections() == ALL + 4)
                slow.append(_window())
                assert daemon.connections() == ALL + 4
            wait_for(lambda: daemon.connections() == 4)
    ratio = others.p99_s(slow) / others.p99_s(quiet)
    tell(
        f"{others.answered} answers; p99 {others.p99_s(quiet) * 1e3:.2f} ms quiet, "
        f"{others.p99_s(slow) * 1e3:.2f} ms beside {ALL} slow ones: {ratio:.2f}x"
    )
    assert others.failures == {}
    assert ratio <= P99_RATIO_MAX


def _window() -> tuple[float, float]:
    start = time.monotonic()
    time.sleep(WINDOW_S)
    return start, time.monotonic()
