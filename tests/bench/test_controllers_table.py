"""Who won a comparison."""

from __future__ import annotations

import math

import pytest

from bench.controllers_table import Row, loads_won, print_table, verdict

ROWS = [
    Row("step", "ours", 0.91, 0.9, 0.45, 0.0),
    Row("step", "other", 0.914, 1.2, 0.45, 30.0),
    Row("burst", "ours", 0.80, 0.9, 0.7, math.nan),
    Row("burst", "other", 0.85, 1.1, 0.74, math.nan),
]


def test_one_percent_less_than_the_best_is_as_good() -> None:
    assert loads_won(ROWS, "ours") == ["step"]
    assert loads_won(ROWS, "other") == ["step", "burst"]


def test_verdict_counts_loads_and_names_those_on_which_the_default_is_behind() -> None:
    line = verdict(ROWS, "ours")
    assert "on 1 of 2 loads, other on 2" in line
    assert line.endswith("behind on burst")


def test_table_shows_each_load_once_and_nothing_where_it_cannot_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(ROWS, "ours")
    text = capsys.readouterr().out
    assert text.count("step") == 1
    assert "nan" not in text
    assert "verdict: ours" in text
