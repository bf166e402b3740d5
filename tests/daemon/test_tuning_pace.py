"""How often the tuner looks, on a clock that the test turns."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sedp.daemon.tuning import LiveTuning
from sedp.manager.observation import Observation

from .calls import serving
from .test_tuning import CONFIG, ask


class Turned:
    """Stands for a module as the tuner sees it: time passes only while it sleeps."""

    def __init__(self, module: Any, clock: list[int]) -> None:
        self._module = module
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def monotonic_ns(self) -> int:
        return self._clock[0]

    async def sleep(self, seconds: float) -> None:
        self._clock[0] += round(seconds * 1e9)
        await asyncio.sleep(0)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nanoseconds between looks, as they are taken."""
    clock, seen, observe = [10**9], list[int](), LiveTuning._observe

    def note(tuning: LiveTuning) -> Observation:
        observation = observe(tuning)
        seen.append(observation.window_ns)
        return observation

    monkeypatch.setattr("sedp.daemon.tuning.asyncio", Turned(asyncio, clock))
    monkeypatch.setattr("sedp.daemon.tuning.time", Turned(time, clock))
    monkeypatch.setattr(LiveTuning, "_observe", note)
    return seen


async def looks(windows: list[int], count: int) -> None:
    """Wait for so many more."""
    wanted = len(windows) + count
    while len(windows) < wanted:
        await asyncio.sleep(0)


@pytest.mark.parametrize(("every", "seconds"), [("100ms", 0.1), ("1s", 1), ("30s", 30)])
async def test_looks_are_as_far_apart_as_the_config_says(
    every: str, seconds: float, tmp_path: Path, windows: list[int]
) -> None:
    async with serving(tmp_path, CONFIG.replace("every: 10m", f"every: {every}")):
        await looks(windows, 4)
    assert set(windows) == {round(seconds * 1e9)}


async def test_reload_changes_the_pace(
    tmp_path: Path, windows: list[int], http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        (tmp_path / "c.yaml").write_text(CONFIG.replace("every: 10m", "every: 5s"))
        assert (await ask(http, daemon, "POST", "/admin/reload"))[0] == 200
        await looks(windows, 4)
    assert windows[-1] == windows[-2] == 5_000_000_000
