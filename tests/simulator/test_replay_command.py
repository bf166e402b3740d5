"""`sedp replay` from the command line, against a fake daemon on a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sedp.cli.replay import command
from sedp.errors import ConfigError, SedpError
from tests.simulator.fake_daemon import FakeDaemon, refusal, serving
from tests.simulator.recordings import recorded_arrays, save


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with serving(FakeDaemon()) as running:
        yield running


def invoke(daemon: FakeDaemon, folder: Path, *options: str) -> Result:
    path = save(folder, recorded_arrays())
    return CliRunner().invoke(
        command, ["--url", daemon.url + "/", "--recording", str(path), *options]
    )


def test_replay_prints_quality_and_latency(daemon: FakeDaemon, tmp_path: Path) -> None:
    result = invoke(daemon, tmp_path, "--rate", "1000", "--spacing", "even")
    assert result.exit_code == 0, result.output
    assert len(daemon.requests) == 40
    for words in ("40 answered", "AUC", "logloss", "p99.9", "█"):
        assert words in result.stdout
    assert "sending 40 requests in 0s" in result.stderr


def test_weeks_and_limit_choose_the_requests(daemon: FakeDaemon, tmp_path: Path) -> None:
    result = invoke(daemon, tmp_path, "--weeks", "48-49", "--limit", "15", "--rate", "1000")
    assert result.exit_code == 0, result.output
    wanted = recorded_arrays()["household_id"][10:25].tolist()
    sent = [request["household_id"][0] for request in daemon.requests]
    assert sorted(sent) == sorted(wanted)


def test_recorded_pace_is_scaled(daemon: FakeDaemon, tmp_path: Path) -> None:
    result = invoke(daemon, tmp_path, "--speed", "500", "--json", "-")
    assert result.exit_code == 0, result.output
    arrays = recorded_arrays()
    seconds = (arrays["ts_s"][-1] - arrays["ts_s"][0]) / 500
    report = json.loads(result.stdout)
    assert seconds < report["elapsed_s"] < seconds + 1


@pytest.mark.slow
def test_files_are_written(daemon: FakeDaemon, tmp_path: Path) -> None:
    html, figures = tmp_path / "page.html", tmp_path / "figures.json"
    result = invoke(daemon, tmp_path, "--rate", "1000", "--html", str(html), "--json", str(figures))
    assert result.exit_code == 0, result.output
    assert html.read_text().startswith("<!doctype html>")
    assert json.loads(figures.read_bytes())["answered"] == 40


def test_failures_fail_unless_allowed(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.misbehave = lambda number: refusal(503, "queue full") if number % 40 < 4 else None
    strict = invoke(daemon, tmp_path, "--rate", "1000")
    assert isinstance(strict.exception, SedpError)
    assert str(strict.exception) == "4 of 40 requests failed"
    assert "queue full" in strict.stdout
    lenient = invoke(daemon, tmp_path, "--rate", "1000", "--allow-failures")
    assert lenient.exit_code == 0


def test_speed_and_rate_exclude_each_other(daemon: FakeDaemon, tmp_path: Path) -> None:
    result = invoke(daemon, tmp_path, "--speed", "2", "--rate", "3")
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--weeks", "forty", "write 48 or 48-53"),
        ("--timeout", "2", "no unit"),
        ("--timeout", "0s", "no time to answer"),
        ("--rate", "0", "not in the range"),
        ("--in-flight", "9999", "not in the range"),
    ],
)
def test_wrong_option_is_refused_with_its_mend(
    daemon: FakeDaemon, tmp_path: Path, option: str, value: str, words: str
) -> None:
    result = invoke(daemon, tmp_path, option, value)
    assert result.exit_code == 2
    assert words in result.stderr


def test_help_shows_examples() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert "sedp replay --recording recording.npz --weeks 48-53 --rate 200" in result.stdout
