"""Nothing grows with the requests: memory, files, threads, tasks.

`SEDP_SOAK_S` makes it long, and then holds the upper bound of the growth against its goal. A short
run has too few requests for that: it must not prove a leak of 50 bytes a request, and must find one
of 100 that was planted.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.supervisor.tree import wait_for

from .figures import tell
from .mixed_load import MixedLoad
from .operated import Footprint, Operated, operate, write
from .trend import Trend, fit

SOAK_S = float(os.environ.get("SEDP_SOAK_S", "2.5"))
LONG = "SEDP_SOAK_S" in os.environ
SLICES = 60 if LONG else 8
WARM_UP = 0.25  # of the slices
RELOAD_EVERY = 5 if LONG else 4  # slices
GROWTH_MAX = 10.0 if LONG else 50.0  # bytes a request; 10 are 1 MB by 100,000
LIMITS = {"head_timeout": "5s", "write_timeout": "5s"}


@dataclass(frozen=True, slots=True)
class Slice:
    """What the daemon held after so many requests; nothing was under way."""

    requests: int
    held: Footprint
    tasks: int


def soak(daemon: Operated, stage: str, seconds: float) -> list[Slice]:
    """Slices of mixed load, now and then with a reload; no request may fail."""
    slices: list[Slice] = []
    requests = 0
    for number in range(SLICES):
        with MixedLoad(daemon.data_port, seed=number) as load:
            if number % RELOAD_EVERY == 0:
                _reload(daemon, stage, number)
            time.sleep(seconds / SLICES)
        assert load.failures == {}
        requests += load.requests
        wait_for(lambda: daemon.connections() <= 1)  # that of the census
        slices.append(Slice(requests, daemon.footprint(), daemon.tasks()))
    return slices


def growth(slices: list[Slice]) -> Trend:
    """Of memory, in bytes a request, once the daemon is warm."""
    warm = slices[int(len(slices) * WARM_UP) :]
    return fit([s.requests for s in warm], [s.held.rss_bytes for s in warm])


def _reload(daemon: Operated, stage: str, number: int) -> None:
    write(daemon.folder, pipelines(stage, number), **LIMITS)
    status, body = daemon.change("/admin/reload")
    assert status == 200, body


def pipelines(stage: str, number: int = -1) -> dict[str, str]:
    plan = ("executor: inline", "executor: thread, breaker: {share: 0.9}")[number % 2]
    return {
        "double": f"{stage}, {plan}; deadline: {30 + number}s",  # stages are opened anew
        "census": "Census",
    }


@pytest.mark.timeout(0 if LONG else 120)
def test_nothing_grows_with_the_requests(tmp_path: Path) -> None:
    with operate(tmp_path, pipelines("Double"), **LIMITS) as daemon:
        slices = soak(daemon, "Double", SOAK_S)
    trend = growth(slices)
    warm = slices[int(len(slices) * WARM_UP)]
    tell(
        f"{slices[-1].requests} requests in {SOAK_S:g} s: RSS "
        f"{warm.held.rss_bytes / 1e6:.1f} → {slices[-1].held.rss_bytes / 1e6:.1f} MB, "
        f"{trend.slope / 10:+.3f} MB by 100,000 requests "
        f"({trend.low / 10:+.3f} … {trend.high / 10:+.3f}); "
        f"files {warm.held.files} → {slices[-1].held.files}, "
        f"threads {warm.held.threads} → {slices[-1].held.threads}, "
        f"tasks {warm.tasks} → {slices[-1].tasks}"
    )
    assert slices[-1].tasks <= warm.tasks
    assert slices[-1].held.files <= warm.held.files
    assert slices[-1].held.threads <= warm.held.threads
    assert (trend.high if LONG else trend.low) <= GROWTH_MAX


def test_a_leak_of_100_bytes_a_request_is_found(tmp_path: Path) -> None:
    with operate(tmp_path, pipelines("Leaky"), **LIMITS) as daemon:
        trend = growth(soak(daemon, "Leaky", min(SOAK_S, 10.0)))
    tell(f"a leak: {trend.slope / 10:+.1f} ({trend.low / 10:+.1f} … {trend.high / 10:+.1f})")
    assert trend.low > GROWTH_MAX
