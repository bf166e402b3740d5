"""`sedp store advise`: what the tables' hit ratios would be with more RAM or less."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sedp.cli.options import bytes_option, folder_argument
from sedp.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from sedp.storage.advice.division import Advice
    from sedp.storage.advice.hit_curve import HitCurve


@click.command(
    "advise",
    epilog="Examples:\n\n  sedp store advise .sedp/store\n\n"
    "  sedp store advise .sedp/store --ram 2GiB --html curves.html",
)
@folder_argument("path")
@bytes_option(
    "ram",
    "A store.ram to look at, e.g. 2GiB. Without it: the least that no doubling betters by a point.",
)
@bytes_option(
    "lmdb",
    "Most that one table version may take in LMDB, as store.lmdb; 0: none. Without it: no limit.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Plot the curves into this file.",
)
def command(
    path: Path, ram_bytes: int | None, lmdb_bytes: int | None, html_path: Path | None
) -> None:
    """Tell how much RAM the store at PATH is worth, and what each table hits with it.

    RAM is divided over the tables as a daemon does with that `store.ram`: tables that fit are
    whole, the others share the rest by their bytes. Tables without a log are left out.

    It learns from a sample of the look-ups, PATH/access/<table>.npz, which a daemon records with
    `access_log: true` under `store` in its config. Caches of many sizes are simulated on it, so
    all figures are of that traffic.
    """
    from rich.console import Console

    from sedp.storage.advice.division import advise

    curves = _read_curves(path)
    advice = advise(curves, ram_bytes or 0, lmdb_bytes=lmdb_bytes)
    if ram_bytes is None:
        advice = advise(curves, advice.recommended_bytes, lmdb_bytes=lmdb_bytes)
    console = Console()
    for title, grid in _tables(advice, curves):
        console.print(title, highlight=False)
        console.print(grid)
    if html_path is not None:
        _write_html(html_path, curves, advice)


def _read_curves(path: Path) -> list[HitCurve]:
    from rich.console import Console
    from rich.progress import track

    from sedp.storage.access_recording import FOLDER
    from sedp.storage.advice.access_log import load_sample
    from sedp.storage.advice.hit_curve import hit_curve

    files = sorted((path / FOLDER).glob("*.npz"))
    if not files:
        raise StoreError(
            f"{path / FOLDER} has no access logs, so there is nothing to learn from; serve with "
            "access_log: true under store in the config for a while, then ask again"
        )
    return [
        hit_curve(load_sample(file))
        for file in track(
            files, "simulating", console=Console(stderr=True), disable=not sys.stderr.isatty()
        )
    ]


def _tables(advice: Advice, curves: list[HitCurve]) -> Iterator[tuple[str, Table]]:
    """Titles and tables: a curve each, the budgets, the division."""
    for curve in curves:
        title = f"{curve.table}: {curve.table_rows:,} rows, {curve.lookups:,} look-ups logged"
        yield title, _curve_table(curve)
    yield "all tables, with a budget divided as the store does", _budget_table(advice)
    division = advice.division
    title = (
        f"{_size(division.ram_bytes)} divided: {division.ram_ratio:.1%} hits, "
        f"{division.ns_per_key:,.0f} µs per 1,000 keys"
    )
    yield title, _division_table(advice, curves)


def _curve_table(curve: HitCurve) -> Table:
    grid = _grid("RAM", "rows kept", "hit ratio")
    for size, rows, ratio in zip(
        curve.bytes.tolist(), curve.rows.tolist(), curve.ratios.tolist(), strict=True
    ):
        grid.add_row(_size(size), f"{rows:,}", f"{ratio:.1%}")
    grid.add_row(_size(curve.whole_bytes), "all", "100.0%")
    return grid


def _budget_table(advice: Advice) -> Table:
    grid = _grid("RAM", "hit ratio", "µs per 1,000 keys", "")
    for division in advice.budgets:
        is_advised = division.ram_bytes == advice.recommended_bytes
        grid.add_row(
            _size(division.ram_bytes),
            f"{division.ram_ratio:.1%}",
            f"{division.ns_per_key:,.0f}",
            "← recommended" if is_advised else "",
        )
    return grid


def _division_table(advice: Advice, curves: list[HitCurve]) -> Table:
    grid = _grid("table", "look-ups", "RAM", "of all it can use", "hit ratio", "LMDB", "with LMDB")
    total = max(1, sum(curve.lookups for curve in curves))
    for share, curve in zip(advice.division.shares, curves, strict=True):
        part = "whole" if share.is_whole else f"{share.ram_bytes / curve.whole_bytes:.1%}"
        grid.add_row(
            share.table,
            f"{share.lookups / total:.1%}",
            _size(share.ram_bytes),
            part,
            f"{share.ram_ratio:.1%}",
            _size(share.lmdb_bytes),
            f"{share.lmdb_ratio:.1%}",
        )
    return grid


def _grid(*headings: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    columns = [Column(heading, justify="right", no_wrap=True) for heading in headings]
    return Table(*columns, box=SIMPLE_HEAD, pad_edge=False)


def _size(count: float) -> str:
    """Bytes in the unit that leaves fewest digits; `1.0 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def _write_html(path: Path, curves: list[HitCurve], advice: Advice) -> None:
    """One self-contained page: hit ratios by bytes, and the mean look-up by budget.

    Raises:
        ConfigError: plotly is not installed, or the file cannot be written.
    """
    try:
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError as err:
        raise ConfigError("--html: plotly is missing; pip install 'sedp[report]'") from err
    titles = ("hit ratio of each table", "all tables, divided as the store does")
    chart: Any = make_subplots(rows=2, cols=1, subplot_titles=titles)
    for curve in curves:
        line = go.Scatter(
            x=[*curve.bytes.tolist(), curve.whole_bytes, curve.whole_bytes],
            y=[*curve.ratios.tolist(), *curve.ratios[-1:].tolist(), 1.0],
            name=curve.table,
        )
        chart.add_trace(line, row=1, col=1)
    budgets = [division.ram_bytes for division in advice.budgets]
    ns = [division.ns_per_key for division in advice.budgets]
    chart.add_trace(go.Scatter(x=budgets, y=ns, name="µs per 1,000 keys"), row=2, col=1)
    chart.add_vline(x=advice.recommended_bytes, line_dash="dot", row=2, col=1)
    chart.update_xaxes(title_text="bytes of RAM", type="log")
    chart.update_yaxes(title_text="hit ratio", row=1, col=1)
    chart.update_yaxes(title_text="µs per 1,000 keys", rangemode="tozero", row=2, col=1)
    chart.update_layout(height=900, template="plotly_white", title=f"RAM for {len(curves)} tables")
    try:
        path.write_text(chart.to_html(include_plotlyjs=True), encoding="utf-8")
    except OSError as err:
        raise ConfigError(f"--html {path}: {err}; name a file that can be written") from err
