"""The table of the comparison: every controller on every load, and who won."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console
from rich.table import Table

WIDTH = 140  # where there is no terminal to fill
NEAR = 0.99  # of the best goodput is as good: rounds differ by as much


@dataclass(frozen=True, slots=True)
class Row:
    """One controller on one load, medians of the rounds; NaN where the load cannot say.

    Args:
        goodput: answers in time by what could be answered at this load.
        p99: of the answered, by the target.
        quality: share of all who ask that is answered in full and in time.
        recovery_ms: from relief until nearly everybody is answered in time again.
    """

    load: str
    controller: str
    goodput: float
    p99: float
    quality: float
    recovery_ms: float


def loads_won(rows: list[Row], controller: str) -> list[str]:
    """Loads on which `controller` has the best goodput, or nearly."""
    best = {load: _best(rows, load) for load in dict.fromkeys(row.load for row in rows)}
    return [
        row.load
        for row in rows
        if row.controller == controller and row.goodput >= NEAR * best[row.load]
    ]


def verdict(rows: list[Row], default: str) -> str:
    """One line: whether the default controller has won everywhere."""
    loads = len({row.load for row in rows})
    wins = {row.controller: len(loads_won(rows, row.controller)) for row in rows}
    others = {name: count for name, count in wins.items() if name != default}
    next_best = max(others, key=lambda name: others[name])
    lost = sorted({row.load for row in rows} - set(loads_won(rows, default)))
    return (
        f"verdict: {default} has the best goodput, or 1 % less, on {wins[default]} of {loads} "
        f"loads, {next_best} on {wins[next_best]}"
        + (f"; behind on {', '.join(lost)}" if lost else "")
    )


def print_table(rows: list[Row], default: str) -> None:
    """Write the table, best goodput of each load marked, and the verdict below it."""
    table = Table(title="controllers by load", caption=verdict(rows, default))
    table.add_column("load", min_width=18)
    table.add_column("controller")
    for heading in ("goodput / possible", "p99 / target", "quality delivered", "recovery, ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for load, group in groupby(rows, key=lambda row: row.load):
        best = _best(rows, load)
        for number, row in enumerate(group):
            is_best = row.goodput >= NEAR * best
            table.add_row(
                "" if number else load,
                row.controller,
                f"[bold green]{row.goodput:.3f}[/]" if is_best else f"{row.goodput:.3f}",
                _shown(row.p99, 2),
                f"{row.quality:.1%}",
                _shown(row.recovery_ms, 0),
            )
        table.add_section()
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _best(rows: list[Row], load: str) -> float:
    return max(row.goodput for row in rows if row.load == load)


def _shown(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:,.{digits}f}"
