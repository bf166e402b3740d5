"""A live run, with threads and all its accidents, is repeated command by command."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace as replaced

from sedp.answer import Unanswered
from sedp.cli.rerun import command
from sedp.engine.events import (
    AnyCommand,
    Arrived,
    Cancelled,
    Finish,
    Outcome,
    RunBatch,
    SetTimer,
)
from sedp.engine.stimulus_log import RecordedRun, StimulusLog
from sedp.errors import ConfigError, SedpError
from sedp.live import Engine
from sedp.simulator.rerun import rerun
from tests.engine.random_dag import random_pipeline, random_request

REQUESTS = 400


async def record_live_run(path: Path, seed: int) -> None:
    """Load, poison, impatient callers and short deadlines, on real threads."""
    dice = random.Random(seed)
    pipeline = replace(random_pipeline(dice, 5), in_flight_max=100)
    engine = Engine([pipeline], stimulus_log=partial(StimulusLog, path))

    async def ask() -> None:
        request = random_request(dice, poisonous=dice.random() < 0.1)
        try:
            async with asyncio.timeout(dice.choice([0.0005, 5])):
                await engine.infer("dag", request)
        except (Unanswered, TimeoutError):
            pass

    for _ in range(REQUESTS // 40):
        await asyncio.gather(*(ask() for _ in range(40)))
    engine.begin_drain()
    await engine.drained()
    engine.close()


@pytest.fixture(scope="module")
def log_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "stimuli.log"
    asyncio.run(record_live_run(path, seed=11))
    return path


@pytest.fixture
def records(log_path: Path) -> list[list[Any]]:
    return [list(record) for record in RecordedRun.open(log_path).records()]


def rewrite(log_path: Path, new_path: Path, records: list[list[Any]]) -> Path:
    log = StimulusLog(new_path, RecordedRun.open(log_path).graph)
    for now_ns, stimulus, commands in records:
        log.append(now_ns, stimulus, commands)
    log.close()
    return new_path


@pytest.mark.parametrize("seed", range(6))
async def test_live_run_is_repeated_exactly(tmp_path: Path, seed: int) -> None:
    await record_live_run(tmp_path / "log", seed)
    result = rerun(RecordedRun.open(tmp_path / "log"))
    assert result.difference is None
    assert result.records > REQUESTS


def test_the_recorded_run_had_its_accidents(records: list[list[Any]]) -> None:
    kinds = {type(stimulus) for _, stimulus, _ in records}
    assert {Arrived, Cancelled} < kinds
    assert any(getattr(stimulus, "failed", False) for _, stimulus, _ in records)


def first_commands(records: list[list[Any]], kind: type) -> int:
    """Number of a late record whose first command is of a kind."""
    return next(
        number
        for number, (_, _, commands) in enumerate(records)
        if number > 100 and commands and isinstance(commands[0], kind)
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (RunBatch, lambda commands: commands[1:]),
        (RunBatch, lambda commands: [replaced(commands[0], stage=0, batch=77), *commands[1:]]),
        (Finish, lambda commands: [replaced(commands[0], outcome=Outcome.DRAINING)]),
        (Finish, lambda commands: [*commands, SetTimer(0, 5)]),
    ],
)
def test_planted_difference_is_found_where_it_is(
    tmp_path: Path,
    log_path: Path,
    records: list[list[Any]],
    kind: type,
    change: Callable[[list[AnyCommand]], list[AnyCommand]],
) -> None:
    place = first_commands(records, kind)
    truth = records[place][2]
    records[place][2] = planted = change(truth)
    result = rerun(RecordedRun.open(rewrite(log_path, tmp_path / "log", records)))
    assert result.difference is not None
    assert result.difference.record == result.records == place
    assert result.difference.stimulus == records[place][1]
    assert result.difference.recorded == planted
    assert result.difference.computed == truth


def test_shifted_clock_is_found(tmp_path: Path, log_path: Path, records: list[list[Any]]) -> None:
    """Times decide: the same stimuli an hour later meet other deadlines."""
    late = [[now_ns + 3_600_000_000_000, stimulus, cmds] for now_ns, stimulus, cmds in records]
    assert rerun(RecordedRun.open(rewrite(log_path, tmp_path / "log", late))).difference


def test_damaged_record_is_refused(tmp_path: Path, log_path: Path) -> None:
    data = bytearray(log_path.read_bytes())
    start = data.index(b"\n") + 1
    data[start + 4] = 0xC1  # no MessagePack begins like this
    (tmp_path / "log").write_bytes(data)
    with pytest.raises(ConfigError, match="damaged record"):
        rerun(RecordedRun.open(tmp_path / "log"))


def test_command_says_identical(log_path: Path, records: list[list[Any]]) -> None:
    result = CliRunner().invoke(command, [str(log_path)])
    assert result.exit_code == 0, result.output
    assert f"{len(records):,} records: identical" in result.stdout


def test_command_shows_the_first_difference(
    tmp_path: Path, log_path: Path, records: list[list[Any]]
) -> None:
    place = next(
        number
        for number, (_, _, commands) in enumerate(records)
        if commands and isinstance(commands[0], RunBatch)
    )
    records[place][2] = []
    path = rewrite(log_path, tmp_path / "log", records)
    result = CliRunner().invoke(command, [str(path)])
    assert isinstance(result.exception, SedpError)
    for word in (f"record {place}", "recorded: []", "computed: [RunBatch("):
        assert word in result.stdout


def test_command_refuses_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"no log\n")
    result = CliRunner().invoke(command, [str(tmp_path / "log")])
    assert isinstance(result.exception, ConfigError)
