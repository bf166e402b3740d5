"""`sedp store advise` from access logs to tables and a plot, as a user reads them."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sedp.cli.store_advice import command
from sedp.errors import ConfigError, SedpError, StoreError
from sedp.storage.advice.access_log import AccessLog, save_sample


def run(*words: str | Path) -> Result:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(command, [str(word) for word in words])
    if isinstance(result.exception, SedpError):
        raise result.exception
    return result


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A large table asked for evenly, and a small one asked for as often."""
    dice = np.random.default_rng(0)
    for table, rows in (("user", 20_000), ("campaign", 50)):
        log = AccessLog(table, rows, 60)
        for _ in range(300):
            log.record(dice.integers(0, rows, 100).astype(np.uint64))
        save_sample(log.snapshot(), tmp_path / "access" / f"{table}.npz")
    return tmp_path


def lines_of(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.output.splitlines()]


def test_every_table_has_its_curve_and_its_share(store: Path) -> None:
    lines = lines_of(run(store, "--ram", "1MiB"))
    text = [" ".join(line) for line in lines]
    assert "user: 20,000 rows, 30,000 look-ups logged" in text
    assert "campaign: 50 rows, 30,000 look-ups logged" in text
    assert sum(line[-2:] == ["all", "100.0%"] for line in lines) == 2
    campaign = next(line for line in lines if line[0:1] == ["campaign"])
    assert campaign[:6] == ["campaign", "50.0%", "7.1", "KiB", "whole", "100.0%"]
    assert campaign[6:] == ["8.0", "KiB", "100.0%"]
    user = next(line for line in lines if line[0:1] == ["user"])
    assert user[:4] == ["user", "50.0%", "1,015.9", "KiB"]
    assert any(line.startswith("1.0 MiB divided:") for line in text)


def test_without_a_budget_the_recommended_one_is_divided(store: Path) -> None:
    text = [" ".join(line) for line in lines_of(run(store))]
    (recommended,) = [line for line in text if line.endswith("← recommended")]
    assert recommended.startswith("4.0 MiB 100.0% 20 ")  # 20,000 rows at two places each
    assert "4.0 MiB divided: 100.0% hits, 20 µs per 1,000 keys" in text


def test_lmdb_of_no_bytes_makes_misses_dear(store: Path) -> None:
    warm, cold = run(store, "--ram", "0"), run(store, "--ram", "0", "--lmdb", "0")
    assert "0.0% hits, 170 µs per 1,000 keys" in warm.output
    assert "0.0% hits, 4,020 µs per 1,000 keys" in cold.output


def test_store_without_logs_says_how_one_comes_about(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no access logs.*access_log: true under store"):
        run(tmp_path)


def test_size_that_is_none_is_a_usage_error(store: Path) -> None:
    result = run(store, "--ram", "lots")
    assert result.exit_code == 2
    assert "write a size like 256MiB" in result.output


def test_plot_shows_every_table(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    page = tmp_path / "curves.html"
    assert run(store, "--html", page).exit_code == 0
    html = page.read_text()
    for name in ("user", "campaign", "hit ratio of each table"):
        assert name in html


def test_plot_that_cannot_be_written_is_told(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    with pytest.raises(ConfigError, match="name a file that can be written"):
        run(store, "--html", tmp_path / "no" / "curves.html")


def test_plot_without_plotly_says_what_to_install(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_import = builtins.__import__

    def without_plotly(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("plotly"):
            raise ImportError(name)
        return plain_import(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_plotly)
    with pytest.raises(ConfigError, match=r"pip install 'sedp\[report\]'"):
        run(store, "--html", tmp_path / "curves.html")
