from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sedp.cli.main import group
from sedp.config import explanation
from tests.config.good import GOOD, change
from tests.config.load_faults import TUNED, add_to_score

Write = Callable[[str], Path]

EXPLANATION = """\
config.yaml is good: 1 pipeline, 2 stages
listen   127.0.0.1:8000
admin    127.0.0.1:8001
store    /srv/sedp
threads  1 in a run; 2 workers on 2 cores

rank
├── deadline   200ms
│   in flight  up to 1,024 events of 512 rows
│   columns    up to 6.02 KiB an event, 6.02 MiB in flight
├── request
│   brings  user  INT64[1]
│           item  INT64[n]
├── score  Score ranking_stages
│   reads   user  INT64[1]  from request
│           item  INT64[n]  from request
│   writes  score  FP32[n]
│   plan    1 run at once; batch up to 1,024 rows, wait none; queue up to 16,384 rows; executor auto
├── top  TopK sedp.stages.top_k
│   reads   score  FP32[n]  from score
│   writes  best  INT32[1, 3]
│   plan    1 run at once; batch up to 256 rows, wait 2ms; queue up to 1,024 rows; executor auto
└── answer
    holds  best  INT32[1, 3]  from top
"""


@pytest.fixture
def check(write: Write, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def run(text: str, options: Sequence[str] = (), *, columns: int = 120) -> Result:
        file = write(text)
        monkeypatch.chdir(file.parent)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(explanation, "usable_cores", lambda: 2)
        return CliRunner().invoke(group, ["check", file.name, *options], catch_exceptions=False)

    return run


Check = Callable[..., Result]


def test_check_draws_the_compiled_graph(check: Check) -> None:
    result = check(change("../store", "/srv/sedp"))
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == EXPLANATION.splitlines()
    assert result.stderr == ""


@pytest.mark.parametrize("columns", [30, 44, 80, 200])
def test_drawing_keeps_every_word_at_any_width(columns: int, check: Check) -> None:
    text = check(change("../store", "/s"), columns=columns).stdout
    words = text.replace("│", " ").split()
    assert all(len(line) <= columns for line in text.splitlines())
    assert "…" not in text
    for name in ("INT32[1,", "ranking_stages", "sedp.stages.top_k", "16,384", "score", "best"):
        assert name in words


def test_brackets_of_types_and_names_are_no_markup(check: Check) -> None:
    text = GOOD.replace("best", "a.b:c/d-e").replace("../store", "/a/[bold]b")
    assert "/a/[bold]b" in check(text).stdout


def test_after_names_stages_that_give_no_column(check: Check) -> None:
    more = "      more: {kind: top_k, params: {k: 2, output: x}, after: [top]}\n"
    text = GOOD.replace("best: INT32[3]", "best: INT32[3]\n      x: INT32[2]") + more
    drawn = check(text).stdout
    assert "after   top" in drawn
    assert drawn.count("after ") == 1


def test_json_has_the_same_facts(check: Check) -> None:
    explained = json.loads(check(GOOD, ["--json"]).stdout)
    (pipeline,) = explained["pipelines"]
    assert (explained["workers"], explained["cores"], explained["threads"]["numba"]) == (2, 2, 1)
    assert pipeline["in_flight_bytes_max"] == 1024 * pipeline["event_bytes_max"]
    assert pipeline["event_bytes_max"] == 8 + 8 * 512 + 4 * 512 + 4 * 3
    assert [stage["name"] for stage in pipeline["stages"]] == ["score", "top"]
    assert pipeline["stages"][1] == {
        "name": "top",
        "stage_class": "sedp.stages.top_k:TopK",
        "reads": [{"name": "score", "type": "FP32[n]", "source": "score"}],
        "writes": [{"name": "best", "type": "INT32[1, 3]", "source": "top"}],
        "after": ["score"],
        "executor": "auto",
        "concurrency": 1,
        "batch_rows_max": 256,
        "batch_wait_ns": 2_000_000,
        "queue_rows_max": 1024,
        "care": {
            "timeout_ns": 0,
            "fallback": None,
            "skip_above": 0,
            "hedge_ns": 0,
            "breaker_share": 0,
            "breaker_pause_ns": 1_000_000_000,
        },
    }


def test_output_is_plain_where_there_is_no_terminal(check: Check) -> None:
    assert "\x1b" not in check(GOOD).stdout


def test_help_has_examples() -> None:
    shown = CliRunner().invoke(group, ["check", "--help"]).stdout
    assert "sedp check configs/promo-rank.yaml" in shown
    assert "Exit codes: 0" in shown


def test_check_tells_what_is_done_under_load(check: Check) -> None:
    text = add_to_score(
        "        timeout: 5ms\n        fallback: {score: 0.5}\n        skip_above: 0.8\n"
        "        hedge: 3ms\n        breaker: {}\n",
        f"{TUNED}    priorities: {{levels: 3}}\n",
    )
    lines = [line.strip("│├└─ ") for line in check(text, columns=200).stdout.splitlines()]
    assert "target     p99 20ms; admission predicted_wait, 3 levels; knobs are tuned" in lines
    assert (
        "care    given up after 5ms; started again after 3ms; skipped above pressure 0.8; left "
        "alone for 1s when 50% of its runs fail; falls back to score 0.5" in lines
    )
