"""`python -m bench NAME`: run one bench, print its figures, write them as JSON if asked."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.figure import Figure, Report
from bench.machine import describe_machine

BENCHES = {
    "candidate_cut": "Quality when candidates are cut; 2x demand beside dropping requests.",
    "candidate_cut_live": "The cut in the daemon at 2x demand, beside dropping requests.",
    "controllers": "Every admission controller on the same loads, under the virtual clock.",
    "ctr_rank": "A ranker of the usual size beside mosec, and beside bare arithmetic.",
    "engine": "Overhead of the engine a request and stage; simulated requests a second.",
    "http": "CPU a request and requests a second beside a bare aiohttp echo.",
    "isolation": "What isolating tenants gives the others, and costs a greedy one; virtual clock.",
    "overload": "The daemon under more load than it can carry: steps, levels, callers that retry.",
    "promo_rank": "The demo through its daemon: quality, and latency at a fixed rate.",
    "start": "Seconds until help, until a restarted daemon is ready, and from nothing.",
    "query_cache": "Look-ups of cached scores; what a cache saves where requests repeat.",
    "query_cache_live": "The cache in the daemon: a replay in which requests repeat.",
    "store": "Look-ups and imports against the limits of the machine and the libraries.",
    "store_large": "A table of four times the memory, and placement when what is hot changes.",
    "tenants_live": "The daemon with a noisy tenant among ten, and with rare large requests.",
    "tuning_live": "The daemon's tuner from wrong plans, beside the best static plan.",
}
OPTION_OF = {
    "data_dir": ("controllers", "overload"),
    "rows": ("store_large",),
    "mosec_python": ("ctr_rank",),
}
WIDTH = 140  # of the table where there is no terminal to fill
EPILOG = "\b\nBenches:\n" + "\n".join(f"  {name}  {text}" for name, text in BENCHES.items())


CONTEXT = {"max_content_width": 100, "token_normalize_func": lambda text: text.replace("-", "_")}


@click.command(epilog=EPILOG, context_settings=CONTEXT)
@click.argument("name", type=click.Choice(list(BENCHES)))
@click.option("--quick", is_flag=True, help="A few seconds, wider spread.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--seed", default=1, show_default=True, help="Of all dice.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Recorded traces: controllers, overload."
)
@click.option("--rows", type=click.IntRange(min=100_000), help="Of the table of store_large.")
@click.option("--mosec-python", metavar="PATH", help="Interpreter with mosec, for ctr_rank.")
def main(name: str, quick: bool, json_path: Path | None, seed: int, **own: object) -> None:
    """Run the bench NAME. Exits 0 whether or not goals hold: judging is the reader's part."""
    given = {option: value for option, value in own.items() if value is not None}
    for option in given:
        if name not in OPTION_OF[option]:
            flag, benches = option.replace("_", "-"), " and ".join(OPTION_OF[option])
            raise click.UsageError(f"--{flag} is for {benches}, not for {name}")
    figures: list[Figure] = importlib.import_module(f"bench.{name}").measure(quick, seed, **given)
    report = Report(name, quick, seed, describe_machine(), figures)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(report))
    if json_path is not None:
        json_path.write_bytes(report.to_json())


def _table(report: Report) -> Table:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    table = Table(
        title=f"bench {report.bench}{' --quick' if report.quick else ''}",
        caption=f"median (least–greatest of n rounds); {machine}; seed {report.seed}",
    )
    table.add_column("figure", min_width=24)
    for heading in ("value", "spread", "n", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("anchor in the same run", min_width=24)
    table.add_column("ratio", justify="right", no_wrap=True)
    for figure in report.figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> tuple[str, ...]:
    mark = {None: "", True: " [green]holds[/]", False: " [red]missed[/]"}[figure.holds]
    anchor = f"{_number(figure.anchor_value)} {figure.anchor}" if figure.anchor_value else ""
    return (
        figure.name,
        f"[bold]{_number(figure.value)}[/] {figure.unit}",
        f"{_number(figure.spread[0])}–{_number(figure.spread[1])}",
        str(figure.n),
        f"{figure.goal or ''}{mark}",
        anchor,
        f"{figure.ratio:.2f}" if figure.ratio else "",
    )


def _number(value: float | None) -> str:
    """Three figures, thousands separated."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main(prog_name="python -m bench")
