"""Every bench has one form: the same fields, goals with a direction, a machine to compare with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import BENCHES, main
from bench.figure import Figure, Goal, Report, make_figure, measure_in_turn
from bench.machine import describe_machine

FIELDS = [
    "name",
    "value",
    "unit",
    "spread",
    "n",
    "goal",
    "holds",
    "anchor",
    "anchor_value",
    "ratio",
]


def test_figure_is_the_median_beside_its_anchor() -> None:
    figure = make_figure("f", "µs", [3, 1, 2], goal=Goal(5), anchor="a", anchor_rounds=[4, 4, 8])
    assert figure == Figure("f", 2, "µs", (1, 3), 3, "<= 5", True, "a", 4, 0.5)
    assert [field.name for field in dataclasses.fields(Figure)] == FIELDS


def test_goals_have_a_direction() -> None:
    assert make_figure("f", "/s", [99], goal=Goal(100, at_most=False)).holds is False
    assert make_figure("f", "/s", [99], goal=Goal(100)).holds is True
    assert make_figure("f", "/s", [99]).holds is None
    assert str(Goal(100_000, at_most=False)) == ">= 100000"


def test_measurements_are_taken_in_turn() -> None:
    taken: list[str] = []

    def note(name: str) -> float:
        taken.append(name)
        return len(taken)

    assert measure_in_turn(2, lambda: note("a"), lambda: note("b")) == [[1, 3], [2, 4]]
    assert taken == ["a", "b", "a", "b"]


def test_report_names_machine_commit_and_seed() -> None:
    report = Report("engine", True, 7, describe_machine(), [make_figure("f", "µs", [1])])
    data = json.loads(report.to_json())
    assert data["seed"] == 7
    assert {"cpu", "cores", "kernel", "python", "commit"} == data["machine"].keys()
    assert list(data["figures"][0]) == FIELDS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["engine"])
def test_quick_bench_prints_and_writes_its_figures(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(main, [name, "--quick", "--json", str(tmp_path / "figures")])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures").read_bytes())["figures"]
    assert len(figures) >= 8
    assert all(figure["value"] > 0 and figure["anchor_value"] > 0 for figure in figures)
    assert "anchor in the same run" in result.output


def test_help_lists_the_benches() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert all(name in result.output for name in BENCHES)
