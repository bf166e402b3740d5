"""`sedp store stats` and `verify`: what a store holds, and whether it is sound."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sedp.cli.options import folder_argument, progress_bar

if TYPE_CHECKING:
    from sedp.storage.table_spec import TableSpec
    from sedp.storage.tables.statistics import StoreStatistics, TableStatistics
    from sedp.storage.verification import VerifyReport

Versions = dict[str, tuple[int, ...]]
COLD = ("lmdb", "rocksdb")


@click.command(
    epilog="Examples:\n\n  sedp store stats .sedp/store\n\n  sedp store stats .sedp/store --json"
)
@folder_argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def stats(path: Path, as_json: bool) -> None:
    """Show the tables of the store at PATH; a process that serves from it may go on.

    The current version of each table is shown, with what it takes on disk and, of a delta, the
    versions that it chains on. What RAM holds, and how often each tier is asked and answers, by
    keys and by requests, belongs to the process that serves: its status page and metrics show that.
    """
    from sedp.storage.store import ParameterStore

    with ParameterStore.open(path, ram_bytes=0, read_only=True) as store:
        statistics = store.statistics()
        versions = {spec.name: store.versions(spec.name) for spec in store.tables()}
        chains = {spec.name: store.chain(spec.name) for spec in store.tables()}
    if as_json:
        tables = [_document(table, versions, chains) for table in statistics.tables]
        click.echo(json.dumps({"path": str(path), "tables": tables}, indent=2))
    else:
        _print_tables(statistics, versions, chains)


def _document(table: TableStatistics, versions: Versions, chains: Versions) -> dict[str, Any]:
    name = table.spec.name
    document = {**asdict(table.spec), "versions": versions[name], "chain": chains[name]}
    document["rows"] = table.rows
    for tier in table.tiers:
        if tier.tier in COLD:
            document[f"{tier.tier}_bytes"] = tier.bytes
        if tier.tier == "lmdb":
            document["lmdb_rows"] = tier.rows
    return document


def _print_tables(statistics: StoreStatistics, versions: Versions, chains: Versions) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Column, Table

    headings = ("table", "version", "rows", "row", "RocksDB", "LMDB, rows")
    columns = [Column(heading, no_wrap=True) for heading in headings]
    grid = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for table in statistics.tables:
        spec, tiers = table.spec, {tier.tier: tier for tier in table.tiers}
        warm = tiers.get("lmdb")
        grid.add_row(
            spec.name,
            _version(spec.version, versions[spec.name], chains[spec.name]),
            f"{table.rows:,}",
            _row(spec),
            decimal(tiers["rocksdb"].bytes),
            f"{decimal(warm.bytes)}, {_share(warm.rows, table.rows)}" if warm else "not built",
        )
    Console().print(grid)


def _version(current: int, kept: tuple[int, ...], below: tuple[int, ...]) -> str:
    chained = f"{current} on {', '.join(map(str, below))}" if below else str(current)
    others = ", ".join(str(version) for version in kept if version != current)
    return f"{chained} ({others} kept)" if others else chained


def _row(spec: TableSpec) -> str:
    is_plain = spec.dtype != "float32" or spec.row_format == "float32"
    stored = "" if is_plain else f" {spec.row_format}"
    return f"{spec.dtype}[{spec.dim}]{stored}" + (" dense" if spec.layout == "dense" else "")


def _share(part: int, whole: int) -> str:
    """Rows that online updates added come on top, so it may be more than all."""
    return "all" if part >= whole else f"{part / whole:.1%}"


@click.command(epilog="Example:\n\n  sedp store verify .sedp/store")
@folder_argument("path")
def verify(path: Path) -> None:
    """Check every record of the store at PATH; exit 1 if one is damaged or missing."""
    from sedp.storage.store import ParameterStore

    with (
        ParameterStore.open(path, ram_bytes=0, read_only=True) as store,
        progress_bar("verifying", None) as progress,
    ):
        report = store.verify(progress)
    _print_report(report)
    if not report.is_sound:
        sys.exit(1)


def _print_report(report: VerifyReport) -> None:
    for part in report.parts:
        state = "sound" if part.is_sound else "DAMAGED"
        click.echo(
            f"{part.table} version {part.version} in {part.tier}: {state}, "
            f"{part.rows:,} of {part.rows_expected:,} rows, {part.corrupt:,} corrupt"
        )
    tiers = {part.tier for part in report.parts if not part.is_sound}
    if "rocksdb" in tiers:
        click.echo("RocksDB is the truth: import the damaged tables again, or restore a backup.")
    elif tiers:
        click.echo("LMDB holds copies: stop the daemon, delete the lmdb folder, start it again.")
