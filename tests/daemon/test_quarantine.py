"""Requests that fail whenever they are run, and are run no more."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.answer import Unanswered
from sedp.daemon.quarantine import DIGESTS_MAX, FAILURES_MAX, KEPT_NS, Quarantine
from sedp.engine.events import Outcome

from . import test_degraded as degraded
from . import wire
from .calls import GOOD, infer_url, outcomes, post
from .config_file import ConfigFile
from .conftest import StartDaemon, StartFrom
from .grpc_front import INFER, call, request, serving


def is_refused(quarantine: Quarantine, body: bytes, now_ns: int) -> bool:
    refused = quarantine.refused
    with contextlib.suppress(Unanswered):
        quarantine.check(body, now_ns)
    return quarantine.refused > refused


def answer_others(quarantine: Quarantine) -> None:
    for _ in range(2):
        quarantine.answered(None)


def test_no_request_is_to_blame_while_most_fail() -> None:
    quarantine = Quarantine()
    for number in range(100):
        quarantine.failed(b"%d" % number, 0)
    for _ in range(2 * FAILURES_MAX):
        assert not is_refused(quarantine, b"popular", 0)
        quarantine.failed(b"popular", 0)
    for _ in range(100):
        quarantine.answered(None)
    for _ in range(FAILURES_MAX):
        assert not is_refused(quarantine, b"bad", 0)
        quarantine.failed(b"bad", 0)
    assert is_refused(quarantine, b"bad", 0)
    assert not is_refused(quarantine, b"popular", 0)


def test_request_is_refused_unrun_from_the_third_failure_on() -> None:
    quarantine = Quarantine()
    for _ in range(FAILURES_MAX):
        assert not is_refused(quarantine, b"bad", 0)
        quarantine.failed(b"bad", 0)
    with pytest.raises(Unanswered, match="quarantined"):
        quarantine.check(b"bad", 1)
    assert not is_refused(quarantine, b"other", 1)
    assert quarantine.refused == 1


def test_nothing_is_hashed_while_nothing_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sedp.daemon.quarantine.hashlib", None)
    quarantine = Quarantine()
    quarantine.answered(quarantine.check(b"good", 0))


def test_failure_is_forgotten_after_an_answer() -> None:
    quarantine = Quarantine()
    quarantine.failed(b"moody", 0)
    quarantine.answered(quarantine.check(b"moody", 1))
    assert len(quarantine) == 0


def test_only_so_many_are_remembered_and_the_oldest_goes() -> None:
    quarantine = Quarantine()
    for number in range(DIGESTS_MAX + 5):
        for _ in range(FAILURES_MAX):
            quarantine.failed(b"%d" % number, 0)
            answer_others(quarantine)
    assert len(quarantine) == DIGESTS_MAX
    assert not is_refused(quarantine, b"4", 0)
    assert is_refused(quarantine, b"5", 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, KEPT_NS // 2))))
def test_quarantine_is_a_count_of_failures_that_time_and_answers_undo(
    steps: list[tuple[int, bool, int]],
) -> None:
    quarantine, model, now_ns = Quarantine(), dict[int, tuple[int, int]](), 0
    for number, fails, gap_ns in steps:
        now_ns += gap_ns
        answer_others(quarantine)
        model = {n: kept for n, kept in model.items() if now_ns - kept[1] < KEPT_NS}
        body, count = b"%d" % number, model.get(number, (0, 0))[0]
        assert is_refused(quarantine, body, now_ns) == (count >= FAILURES_MAX)
        if count >= FAILURES_MAX:
            continue
        if fails:
            quarantine.failed(body, now_ns)
            model[number] = count + 1, now_ns
        else:
            quarantine.answered(quarantine.check(body, now_ns))
            model.pop(number, None)


async def test_poisonous_request_costs_three_runs_and_then_a_422(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    statuses = []
    for _ in range(5):
        async with http.post(infer_url(daemon, "fail"), data=GOOD) as response:
            statuses.append(response.status)
            text = await response.text()
            assert "Retry-After" not in response.headers
    assert statuses == [500, 500, 500, 422, 422]
    assert "do not repeat it" in text
    assert outcomes(daemon, "fail") == {Outcome.FAILED: 3, Outcome.QUARANTINED: 2}
    other, _ = wire.request({"x": ("FP32", np.array([7], np.float32))})
    async with http.post(infer_url(daemon, "fail"), data=other) as response:
        assert response.status == 500


@pytest.mark.parametrize("fallback", [False, True])
async def test_request_that_hangs_a_stage_until_its_timeout_counts(
    fallback: bool, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    stage = f", timeout: 5ms, concurrency: 8{', fallback: {}' if fallback else ''}"
    async with degraded.serving(tmp_path, stage=stage) as daemon:
        statuses = [await post(http, daemon, "shop") for _ in range(4)]
    assert statuses == [200 if fallback else 504] * FAILURES_MAX + [422]


async def test_failure_that_a_fallback_stood_in_for_counts(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with degraded.serving(tmp_path, stage=", fallback: {}") as daemon:
        (tmp_path / "bonus.fail").touch()
        (tmp_path / "bonus.go").touch()
        assert [await post(http, daemon, "shop") for _ in range(2)] == [200] * 2
        (tmp_path / "bonus.fail").unlink()
        assert await post(http, daemon, "shop") == 200, "in full, so all is forgotten"
        (tmp_path / "bonus.fail").touch()
        statuses = [await post(http, daemon, "shop") for _ in range(4)]
    assert statuses == [200] * FAILURES_MAX + [422]


async def test_requests_of_another_pipeline_are_no_concern(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    for pipeline in ("fail", "fail", "fail", "double"):
        async with http.post(infer_url(daemon, pipeline), data=GOOD) as response:
            status = response.status
    assert status == 200


async def test_over_grpc_it_is_an_invalid_argument() -> None:
    message = request({"x": ("FP32", np.array([1], np.float32))}, "fail")
    async with serving() as (_, channel):
        codes = [(await call(channel, INFER, message)).code.name for _ in range(4)]
    assert codes == ["INTERNAL"] * 3 + ["INVALID_ARGUMENT"]


async def test_pipeline_that_is_opened_anew_tries_again_and_counts_on(
    config: ConfigFile, start_from: StartFrom
) -> None:
    (config.path.parent / "factor").write_text("inf")
    (config.path.parent / "on.go").touch()
    config.write(mine="file: factor, at: on")  # no examples, which would fail first
    operator = await start_from(config)
    for _ in range(4):
        last = await operator.infer("mine")
    assert "do not repeat it" in str(last)
    (config.path.parent / "factor").write_text("3")
    assert (await operator.load("mine"))[0] == 200
    assert await operator.infer("mine") == 3.0
    counted = await asyncio.gather(*(operator.answered("mine") for _ in range(2)))
    assert counted == [1, 1]
