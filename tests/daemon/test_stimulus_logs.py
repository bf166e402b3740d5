"""A log of stimuli for each pipeline."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from sedp.daemon.daemon import Daemon
from sedp.engine.stimulus_log import RecordedRun

from .config_file import ConfigFile, Operator


async def record(
    config: ConfigFile, http: aiohttp.ClientSession, path: Path, loads: int
) -> list[str]:
    daemon = await Daemon.start(config.load(), path)
    operator = Operator(http, daemon)
    for _ in range(loads):
        await operator.load("one")
    assert await operator.infer("one") == 2
    await daemon.stop()
    return sorted(file.name for file in path.parent.iterdir())


async def test_log_of_the_only_pipeline_is_the_file_itself(
    config: ConfigFile, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config.write(one="")
    (tmp_path / "logs").mkdir()
    assert await record(config, http, tmp_path / "logs" / "run.log", 0) == ["run.log"]


async def test_several_pipelines_and_replaced_ones_have_logs_of_their_own(
    config: ConfigFile, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config.write(one="", two="")
    (tmp_path / "logs").mkdir()
    names = await record(config, http, tmp_path / "logs" / "run.log", 1)
    assert names == ["run.one.2.log", "run.one.log", "run.two.log"]
    records = [len(list(RecordedRun.open(tmp_path / "logs" / name).records())) for name in names]
    assert records[0] > records[1]
