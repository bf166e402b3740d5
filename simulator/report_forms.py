"""A replay's report for people and for programs: text, one HTML file, JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from sedp.errors import ConfigError
from sedp.simulator.replay import OK, ReplayedRun
from sedp.simulator.report import Quantiles, ReplayReport

BARS = 24  # rows of the text histogram
BAR_CELLS = 48  # longest bar
HTML_BINS = 120
HTML_SLICES = 200  # moments of the latency-over-time plot
EIGHTHS = " ▏▎▍▌▋▊▉"


def write_json(report: ReplayReport) -> bytes:
    """All figures; an infinite latency (unanswered) becomes null."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def figures(report: ReplayReport) -> list[tuple[str, str]]:
    """Name and value of every figure, as both text and HTML show them."""
    statuses = ", ".join(f"{name}: {count:,}" for name, count in report.statuses.items())
    rows = [
        ("requests", f"{report.sent:,} sent, {report.answered:,} answered ({statuses})"),
        ("items", f"{report.rows_sent:,} sent, {report.rows_answered:,} answered"),
        ("time", f"{report.elapsed_s:.2f} s"),
        ("sent", f"{report.sent_per_s:,.1f} requests/s"),
        (
            "answered",
            f"{report.answered_per_s:,.1f} requests/s, {report.rows_answered_per_s:,.0f} items/s",
        ),
        ("latency", _quantiles(report.latency)),
        ("latency, unanswered as ∞", _quantiles(report.latency_all)),
        ("this client's lateness", _quantiles(report.lateness)),
    ]
    if report.auc is not None:
        rows.append(("AUC", f"{report.auc:.4f}"))
    if report.logloss is not None:
        rows.append(("logloss", f"{report.logloss:.4f}"))
    if report.score_error_max is not None:
        rows.append(("max |score - expected|", f"{report.score_error_max:.2e}"))
    rows += [(f"first {status}", text) for status, text in report.errors.items()]
    return rows


class TextReport:
    """The report on a terminal, with a histogram on a logarithmic latency axis."""

    def __init__(self, report: ReplayReport, run: ReplayedRun) -> None:
        self._report = report
        self._latency_ns = run.latency_ns[run.status == OK]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(title=f"replay through {self._report.pipeline}", show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in figures(self._report):
            table.add_row(name, value)
        yield table
        yield from histogram_lines(self._latency_ns)


def histogram_lines(latency_ns: NDArray[np.int64]) -> Iterator[str]:
    """Lines of a histogram: latency from … to, a bar, how many. Nothing for no latencies."""
    if not len(latency_ns):
        return
    edges_ns, counts = _log_histogram(latency_ns, BARS)
    most = counts.max()
    for low_ns, high_ns, count in zip(edges_ns, edges_ns[1:], counts.tolist(), strict=False):
        bar = _bar(count / most)
        yield f"{low_ns / 1e6:>9.3f}–{high_ns / 1e6:<9.3f} ms {bar:<{BAR_CELLS}} {count:,}"


def write_html(report: ReplayReport, run: ReplayedRun) -> str:
    """One self-contained page: the figures, the histogram, latency over time.

    Raises:
        ConfigError: plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError as err:
        raise ConfigError("--html: plotly is missing; pip install 'sedp[report]'") from err
    chart: Any = make_subplots(
        rows=2, cols=1, subplot_titles=("latency of answered requests", "latency over time")
    )
    latency_ns = run.latency_ns[run.status == OK]
    if len(latency_ns):
        edges_ns, counts = _log_histogram(latency_ns, HTML_BINS)
        # Steps, not bars: on a logarithmic axis bars of one width come out ever thinner.
        steps = go.Scatter(
            x=(edges_ns / 1e6).tolist(),
            y=[*counts.tolist(), int(counts[-1])],
            name="requests",
            line_shape="hv",
            fill="tozeroy",
        )
        chart.add_trace(steps, row=1, col=1)
    for name, times_s, values_ms in _over_time(run):
        chart.add_trace(go.Scatter(x=times_s, y=values_ms, name=name), row=2, col=1)
    chart.update_xaxes(title_text="ms", type="log", row=1, col=1)
    chart.update_yaxes(title_text="requests", row=1, col=1)
    chart.update_xaxes(title_text="intended send time, s", row=2, col=1)
    chart.update_yaxes(title_text="ms", type="log", row=2, col=1)
    chart.update_layout(height=900, template="plotly_white")
    return _page(report, chart.to_html(full_html=False, include_plotlyjs=True))


def _page(report: ReplayReport, chart: str) -> str:
    title = html.escape(f"replay through {report.pipeline}")
    rows = "\n".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in figures(report)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        "<style>body{font-family:sans-serif;margin:2rem}th{text-align:left;padding-right:2rem}"
        f"</style></head>\n<body>\n<h1>{title}</h1>\n<table>\n{rows}\n</table>\n{chart}\n</body>\n"
        "</html>\n"
    )


def _over_time(run: ReplayedRun) -> Iterator[tuple[str, list[float], list[float | None]]]:
    """Curves over slices of the run: p50 and p99 of answered requests, and lateness p99."""
    ok = run.status == OK
    slices = np.array_split(np.arange(len(run.due_ns)), min(HTML_SLICES, len(run.due_ns)))
    times_s = [float(run.due_ns[part[0]]) / 1e9 for part in slices]
    answered = [run.latency_ns[part][ok[part]] for part in slices]
    late = [run.late_ns[part] for part in slices]
    yield "latency p50", times_s, [_quantile_ms(values, 0.5) for values in answered]
    yield "latency p99", times_s, [_quantile_ms(values, 0.99) for values in answered]
    yield "this client's lateness p99", times_s, [_quantile_ms(values, 0.99) for values in late]


def _quantile_ms(values_ns: NDArray[np.int64], q: float) -> float | None:
    return float(np.quantile(values_ns, q)) / 1e6 if len(values_ns) else None


def _log_histogram(
    latency_ns: NDArray[np.int64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Bin edges, evenly spaced in the logarithm, and counts."""
    low, high = max(int(latency_ns.min()), 1), int(latency_ns.max()) + 1
    edges_ns = np.geomspace(low, max(high, low + 1), bins + 1)
    edges_ns[0], edges_ns[-1] = low, max(high, low + 1)  # rounding must not leave the ends out
    counts, _ = np.histogram(np.maximum(latency_ns, 1), edges_ns)
    return edges_ns, counts


def _bar(share: float) -> str:
    """A bar of `share` of the full length, to an eighth of a cell; anything at all shows."""
    eighths = math.ceil(share * BAR_CELLS * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _quantiles(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "–"
    values = (quantiles.p50_ms, quantiles.p99_ms, quantiles.p999_ms, quantiles.max_ms)
    texts = ("∞" if math.isinf(value) else f"{value:.2f}" for value in values)
    return "p50 {} · p99 {} · p99.9 {} · max {} ms".format(*texts)
