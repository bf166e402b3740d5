"""The report in its three forms says the same figures, whatever came of the replay."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from sedp.simulator.recording import Recording
from sedp.simulator.replay import TIMEOUT, ReplayedRun
from sedp.simulator.report import Quantiles, ReplayReport, summarise
from sedp.simulator.report_forms import (
    TextReport,
    figures,
    histogram_lines,
    write_html,
    write_json,
)

MS = 1_000_000


def replayed(statuses: list[int]) -> tuple[ReplayReport, ReplayedRun]:
    """One request of two items for each status; request `i` took `i + 1` ms."""
    count = len(statuses)
    recording = Recording(
        np.arange(count),
        np.arange(count + 1) * 2,
        {},
        label=np.tile(np.array([0, 1], np.int8), count),
        expected_score=np.full(count * 2, 0.5, np.float32),
    )
    status = np.array(statuses, np.int16)
    run = ReplayedRun(
        due_ns=np.arange(count) * 10 * MS,
        late_ns=np.full(count, MS // 10),
        latency_ns=(np.arange(count) + 1) * MS,
        status=status,
        scores=np.where(np.repeat(status, 2) == 200, 0.75, np.nan).astype(np.float32),
        errors={TIMEOUT: "no answer <in time>"},
    )
    return summarise("p<1>", recording, run), run


def text_of(report: ReplayReport, run: ReplayedRun) -> str:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(TextReport(report, run))
    return capture.get()


def test_quantile_is_the_least_value_that_the_share_stays_within() -> None:
    quantiles = Quantiles.of(np.arange(1, 1001) * MS)
    assert quantiles == Quantiles(p50_ms=500, p99_ms=990, p999_ms=999, max_ms=1000)
    assert Quantiles.of(np.zeros(0, np.int64)) is None


def test_figures_are_those_of_the_run() -> None:
    report, _ = replayed([200] * 9 + [TIMEOUT])
    assert (report.sent, report.answered, report.failed) == (10, 9, 1)
    assert report.elapsed_s == pytest.approx(0.1)
    assert report.sent_per_s == pytest.approx(9 / 0.0901)
    assert report.answered_per_s == pytest.approx(90)
    assert report.latency == Quantiles(5, 9, 9, 9)
    assert report.latency_all == Quantiles(5, np.inf, np.inf, np.inf)
    assert report.auc == 0.5
    assert report.score_error_max == 0.25


def test_text_shows_figures_and_histogram() -> None:
    report, run = replayed([200] * 9 + [TIMEOUT])
    text = text_of(report, run)
    for words in ("10 sent, 9 answered", "timeout: 1", "AUC", "0.5000", "∞", "█", "no answer"):
        assert words in text


def test_histogram_counts_every_latency_once() -> None:
    rng = np.random.default_rng(0)
    latency_ns = (rng.lognormal(1, 1, 5000) * MS).astype(np.int64)
    lines = list(histogram_lines(latency_ns))
    assert sum(int(line.split()[-1].replace(",", "")) for line in lines) == 5000


@pytest.mark.parametrize("latency_ns", [[], [0], [5, 5], [1, 2**40]])
def test_histogram_of_few_latencies_is_drawn(latency_ns: list[int]) -> None:
    lines = list(histogram_lines(np.array(latency_ns, np.int64)))
    assert sum(int(line.split()[-1]) for line in lines) == len(latency_ns)


def test_json_holds_every_figure_and_null_for_infinity() -> None:
    report, _ = replayed([200] * 9 + [TIMEOUT])
    data = json.loads(write_json(report))
    assert data["latency"]["p50_ms"] == 5
    assert data["latency_all"]["max_ms"] is None
    assert data["statuses"] == {"200": 9, "timeout": 1}
    assert data.keys() == set(ReplayReport.__slots__)


def test_html_is_one_page_that_needs_nothing_else() -> None:
    report, run = replayed([200] * 9 + [TIMEOUT])
    page = write_html(report, run)
    assert page.startswith("<!doctype html>")
    assert "no answer &lt;in time&gt;" in page
    assert "<script src=" not in page
    assert len(page) > 1_000_000  # plotly itself is inside
    for name, _ in figures(report):
        assert name.replace("&", "&amp;").split(" |")[0] in page


def test_replay_without_any_answer_can_be_reported() -> None:
    report, run = replayed([TIMEOUT] * 3)
    assert report.latency is None
    assert report.logloss is None
    assert "–" in text_of(report, run)
    assert "first timeout" in write_html(report, run)
