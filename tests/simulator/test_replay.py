"""The open-loop client against a fake daemon: everything sent once, on time, and accounted for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from sedp.errors import SedpError
from sedp.simulator.quality import auc, logloss
from sedp.simulator.recording import Recording, load_recording
from sedp.simulator.replay import (
    CONNECTION,
    MALFORMED,
    TIMEOUT,
    ReplayedRun,
    Target,
    precise_loop,
    replay,
)
from sedp.simulator.report import summarise
from sedp.simulator.traffic import even_times_ns, poisson_times_ns
from tests.simulator.fake_daemon import FakeDaemon, answer, refusal, serving
from tests.simulator.recordings import recorded_arrays, save

MS = 1_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return load_recording(save(tmp_path, recorded_arrays()))


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with serving(FakeDaemon()) as running:
        yield running


def run_replay(
    daemon: FakeDaemon,
    recording: Recording,
    rate: float = 1000,
    in_flight_max: int = 100,
    timeout_ns: int = 2000 * MS,
) -> ReplayedRun:
    target = Target(daemon.url, "promo-rank", in_flight_max=in_flight_max, timeout_ns=timeout_ns)
    due_ns = even_times_ns(rate, len(recording))
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(replay(target, recording, due_ns, lambda n: None))


def test_all_is_sent_once_in_order_and_all_scores_come_back(
    daemon: FakeDaemon, recording: Recording
) -> None:
    run = run_replay(daemon, recording, in_flight_max=1)
    assert (run.status == 200).all()
    sent = [request["household_id"][0] for request in daemon.requests]
    assert sent == recording.columns["household_id"].tolist()
    np.testing.assert_array_equal(run.scores, recording.expected_score)
    assert (run.latency_ns > run.late_ns).all()


def test_report_holds_quality_and_counts(daemon: FakeDaemon, recording: Recording) -> None:
    report = summarise("promo-rank", recording, run_replay(daemon, recording))
    assert recording.label is not None
    assert recording.expected_score is not None
    assert report.auc == auc(recording.label, recording.expected_score)
    assert report.logloss == logloss(recording.label, recording.expected_score)
    assert report.score_error_max == 0
    assert (report.sent, report.answered, report.failed) == (40, 40, 0)
    assert report.statuses == {"200": 40}
    assert report.rows_answered == recording.row_count
    assert report.latency == report.latency_all


def test_failures_are_counted_by_kind_and_never_dropped(
    daemon: FakeDaemon, recording: Recording
) -> None:
    faults: dict[int, Callable[[], web.Response]] = {
        3: lambda: refusal(503, "queue full"),
        4: lambda: refusal(504, "too late"),
        5: lambda: refusal(503, "other words"),
        6: lambda: web.Response(body=b"nonsense"),
        7: lambda: answer({"score": np.zeros(1000, np.float32)}),
        8: lambda: answer({"score": np.full(1, np.nan, np.float32)}),
        9: lambda: answer({"rank": np.zeros(1, np.int32)}),
    }
    daemon.misbehave = lambda number: faults[number]() if number in faults else None
    daemon.stall_s = {11: 0.5}
    run = run_replay(daemon, recording, in_flight_max=1, timeout_ns=100 * MS)
    assert run.status[[3, 4, 5]].tolist() == [503, 504, 503]
    assert run.status[[6, 7, 8, 9]].tolist() == [MALFORMED] * 4
    assert run.status[11] == TIMEOUT
    assert run.latency_ns[11] >= 100 * MS
    report = summarise("promo-rank", recording, run)
    assert report.statuses == {"200": 32, "503": 2, "504": 1, "malformed": 4, "timeout": 1}
    assert report.errors["503"] == "queue full"
    assert report.failed == 8
    assert report.latency_all is not None
    assert report.latency is not None
    assert report.latency_all.p99_ms == float("inf") > report.latency.max_ms
    failed = np.repeat(run.status != 200, np.diff(recording.splits))
    np.testing.assert_array_equal(np.isnan(run.scores), failed)


@pytest.mark.slow
def test_latency_counts_from_the_intended_time_while_the_daemon_stalls(
    daemon: FakeDaemon, recording: Recording
) -> None:
    """Coordinated omission: one stall must show in all requests that were due meanwhile."""
    daemon.stall_s = {0: 0.3}
    run = run_replay(daemon, recording, rate=200, in_flight_max=1)
    due_meanwhile = run.due_ns[1:] < 250 * MS
    waited = run.latency_ns[1:][due_meanwhile] + run.due_ns[1:][due_meanwhile]
    assert due_meanwhile.all()
    assert (waited >= 300 * MS).all()


@pytest.mark.slow
def test_send_times_keep_the_pace_and_never_run_ahead(
    daemon: FakeDaemon, recording: Recording
) -> None:
    """Loose bounds, for others share the cores; what must not be is drift, or being early."""
    run = run_replay(daemon, recording, rate=200)
    assert run.late_ns.min() >= 0
    assert np.median(run.late_ns) < 20 * MS
    assert np.median(run.late_ns[-10:]) < 20 * MS


def test_broken_connections_are_failures(recording: Recording) -> None:
    with serving(FakeDaemon()) as daemon:
        url = daemon.url

        def crash(number: int) -> web.Response | None:
            if number == 10:
                raise ConnectionResetError
            return None

        daemon.misbehave = crash
        run = run_replay(daemon, recording, in_flight_max=1)
    assert run.status[10] in (500, CONNECTION)
    with pytest.raises(SedpError, match=rf"{url}.*sedp serve"):
        run_replay(daemon, recording)


def test_unknown_pipeline_is_said_before_anything_is_sent(
    daemon: FakeDaemon, recording: Recording
) -> None:
    target = Target(daemon.url, "no-such")
    with pytest.raises(SedpError, match="status 404"):
        asyncio.run(replay(target, recording, np.zeros(40, np.int64), lambda n: None))
    assert not daemon.requests


def test_progress_counts_every_request(daemon: FakeDaemon, recording: Recording) -> None:
    steps: list[int] = []
    times_ns = poisson_times_ns(2000, len(recording), np.random.default_rng(1))
    asyncio.run(replay(Target(daemon.url, "promo-rank"), recording, times_ns, steps.append))
    assert sum(steps) == 40


def test_error_text_of_any_form_is_kept_short(daemon: FakeDaemon, recording: Recording) -> None:
    daemon.misbehave = lambda number: web.Response(status=500, body=b"\xffx" * 5000)
    report = summarise("promo-rank", recording, run_replay(daemon, recording))
    assert 0 < len(report.errors["500"]) <= 200
    assert report.answered == 0
    assert report.latency is None
    assert report.auc is None
    json.dumps(report.errors)
