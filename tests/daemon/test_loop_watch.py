"""A loop that does not turn is counted, and told of with its stack; one that turns is not."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import pytest

from sedp.daemon import loop_watch
from sedp.daemon.loop_watch import BEAT_S, STALL_NS, LoopStatistics, LoopWatch
from sedp.daemon.monitoring.merging import merge, past
from tests.supervisor.samples import worker_statistics

from .conftest import StartDaemon

STALL_S = 0.3


@pytest.fixture
async def watch() -> AsyncIterator[LoopWatch]:
    made = LoopWatch()
    made.begin()
    yield made
    made.end()
    assert "sedp-loop-watch" not in {thread.name for thread in threading.enumerate()}


def hold_up() -> None:
    time.sleep(STALL_S)


def hold_the_lock() -> None:
    ctypes.PyDLL(None).usleep(int(STALL_S * 1e6))


async def turn() -> None:
    """Long enough for a beat."""
    await asyncio.sleep(3 * BEAT_S)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "loop has not" in record.msg]


@pytest.mark.parametrize("stall", [hold_up, hold_the_lock])
async def test_a_stall_is_counted_and_told_with_its_stack(
    watch: LoopWatch, stall: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    await turn()
    stall()
    await turn()
    statistics = watch.statistics()
    assert statistics.stalls == 1
    assert statistics.longest_ns >= STALL_S * 1e9
    [line] = told(caplog)
    assert f", in {stall.__name__}\n" in line
    assert len(line) < loop_watch.STACK_CHARS_MAX + 200


async def test_stalls_after_the_first_are_counted_but_not_told_for_a_minute(
    watch: LoopWatch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await turn()
        hold_up()
    await turn()
    assert watch.statistics().stalls == 2
    assert len(told(caplog)) == 1
    monkeypatch.setattr(loop_watch, "TOLD_GAP_NS", 0)
    hold_up()
    await turn()
    first, second = told(caplog)
    assert "stalls before: 0, the longest 0 ms" in first
    assert "stalls before: 2, the longest " in second


async def test_a_busy_loop_that_turns_is_no_stall(
    watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The control: work in short turns; the machine's own pauses are those of this test, too."""
    turns_ns = [time.monotonic_ns()]
    while turns_ns[-1] - turns_ns[0] < 5 * STALL_NS:
        time.sleep(0.005)
        await asyncio.sleep(0)
        turns_ns.append(time.monotonic_ns())
    pauses_ns = [after - before for before, after in itertools.pairwise(turns_ns)]
    if max(pauses_ns) < STALL_NS - BEAT_S * 1e9 - 5e6:
        assert watch.statistics() == LoopStatistics(0, 0)
        assert not told(caplog)


async def test_beats_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = 0
    beat = LoopWatch._beat

    def count(self: LoopWatch) -> None:
        nonlocal beats
        beats += 1
        beat(self)

    monkeypatch.setattr(LoopWatch, "_beat", count)
    watch = LoopWatch()
    watch.begin()
    await asyncio.sleep(0.2)
    watch.end()
    assert 1 <= beats <= 10
    seen = beats
    await asyncio.sleep(3 * BEAT_S)
    assert beats == seen


async def test_a_watch_may_end_twice_or_unbegun() -> None:
    watch = LoopWatch()
    watch.end()
    other = LoopWatch()
    other.begin()
    other.end()
    other.end()
    assert (watch.statistics().stalls, other.statistics().stalls) == (0, 0)


async def test_a_daemon_exports_what_its_loop_did(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    before = daemon.statistics().loop.stalls
    await turn()
    hold_up()
    await turn()
    assert daemon.statistics().loop.stalls > before
    async with http.get(f"http://{daemon.admin_address}/metrics") as response:
        text = await response.text()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("sedp_loop"))
    assert float(values["sedp_loop_stalls_total"]) >= 1
    assert float(values["sedp_loop_stall_longest_seconds"]) >= STALL_S


def test_stalls_of_workers_add_up_and_the_longest_counts() -> None:
    loops = LoopStatistics(2, 500), LoopStatistics(3, 400)
    parts = [replace(worker_statistics(seed), loop=loop) for seed, loop in enumerate(loops)]
    assert merge(parts).loop == LoopStatistics(5, 500)
    assert merge([past(parts[0]), parts[1]]).loop == LoopStatistics(5, 500)
