"""`sedp store`: import tables from files, show what the store holds, and verify it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sedp.errors import ConfigError

if TYPE_CHECKING:
    from sedp.storage.statistics import StoreStatistics
    from sedp.storage.table_file import TableFile
    from sedp.storage.verification import VerifyReport

store_path = click.argument("path", type=click.Path(file_okay=False, path_type=Path))


@click.group(
    epilog="Examples:\n\n  sedp store import .sedp/store user rows.npz\n\n"
    "  sedp store stats .sedp/store\n\n  sedp store verify .sedp/store"
)
def command() -> None:
    """Import into, measure and verify the parameter store."""


@command.command(
    "import",
    epilog="Examples:\n\n  sedp store import .sedp/store user rows.npz\n\n"
    "  sedp store import .sedp/store ad ads.parquet --id ad_id --columns ctr,price --default 0",
)
@store_path
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["float32", "int32", "int64"]),
    default=None,
    help="Of the table. Without it: the nearest to the file's own.",
)
@click.option(
    "--default",
    default="",
    metavar="NUMBERS",
    help="Row of an unknown key: one number, or one per column, comma-separated. Without it: 0.",
)
@click.option(
    "--columns",
    default="",
    metavar="NAMES",
    help="Parquet: the columns a row is made of, comma-separated (all but the ids without it). "
    "NPZ: names for the numbers of a row.",
)
@click.option("--id", "id_column", default="id", show_default=True, help="Parquet: ids' column.")
def import_(
    path: Path, name: str, file: Path, dtype: str | None, default: str, columns: str, id_column: str
) -> None:
    """Publish FILE as the next version of table NAME; the store at PATH is made if need be.

    FILE is .npz (arrays `keys` [n] and `rows` [n, dim]) or .parquet (a column of ids, and one
    fixed-size-list column or several number columns). Keys come in any order; of one given twice,
    the last counts. The version before stays current until all of the new one is on disk.
    """
    from sedp.storage.store import ParameterStore
    from sedp.storage.table import TableSpec

    source = _open_file(file, dtype or "", _split(columns), id_column)
    row = _default_row(default, source.dim)
    spec = TableSpec(name, source.dim, source.dtype, row, columns=source.columns)
    with (
        ParameterStore.open(path, ram_bytes=0, create=True) as store,
        _progress(f"importing {name}", source.row_count) as progress,
    ):
        spec = store.import_table(spec, source.chunks, progress=progress)
    click.echo(f"table {name!r}: version {spec.version} is current")


def _open_file(file: Path, dtype: str, columns: tuple[str, ...], id_column: str) -> TableFile:
    from sedp.storage.npz_file import open_npz
    from sedp.storage.parquet_file import open_parquet

    if file.suffix == ".npz":
        return open_npz(file, dtype, columns)
    if file.suffix == ".parquet":
        return open_parquet(file, dtype, columns, id_column)
    raise ConfigError(f"{file}: suffix {file.suffix!r} is not known; use .npz or .parquet")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _default_row(text: str, dim: int) -> tuple[float | int, ...]:
    try:
        row = tuple(_number(part) for part in _split(text))
    except ValueError as err:
        raise ConfigError(f"--default {text!r}: {err}; give numbers, comma-separated") from err
    return row * dim if len(row) == 1 else row


def _number(text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        return float(text)


@command.command(
    epilog="Examples:\n\n  sedp store stats .sedp/store\n\n  sedp store stats .sedp/store --json"
)
@store_path
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def stats(path: Path, as_json: bool) -> None:
    """Show the tables of the store at PATH; a process that serves from it may go on."""
    from sedp.storage.store import ParameterStore

    with ParameterStore.open(path, ram_bytes=0, read_only=True) as store:
        statistics = store.statistics()
        versions = {spec.name: store.versions(spec.name) for spec in store.tables()}
    if as_json:
        tables = [
            {**asdict(table.spec), "versions": versions[table.spec.name], "rows": table.rows}
            | {f"{tier.tier}_bytes": tier.bytes for tier in table.tiers if tier.tier in COLD}
            for table in statistics.tables
        ]
        click.echo(json.dumps({"path": str(path), "tables": tables}, indent=2))
    else:
        _print_table(statistics, versions)


COLD = ("lmdb", "rocksdb")


def _print_table(statistics: StoreStatistics, versions: dict[str, tuple[int, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Column, Table

    headings = ("versions", "rows", "row", "RocksDB", "LMDB")
    grid = Table(Column("table", no_wrap=True), *headings, box=SIMPLE_HEAD, pad_edge=False)
    for table in statistics.tables:
        spec, size = table.spec, {tier.tier: decimal(tier.bytes) for tier in table.tiers}
        grid.add_row(
            spec.name,
            ", ".join(map(str, versions[spec.name])),  # the last one is current
            f"{table.rows:,}",
            f"{spec.dtype}[{spec.dim}]",
            size["rocksdb"],
            size.get("lmdb", "not built"),
        )
    Console().print(grid)


@command.command(epilog="Example:\n\n  sedp store verify .sedp/store")
@store_path
def verify(path: Path) -> None:
    """Check every record of the store at PATH; exit 1 if one is damaged or missing."""
    from sedp.storage.store import ParameterStore

    with (
        ParameterStore.open(path, ram_bytes=0, read_only=True) as store,
        _progress("verifying", None) as progress,
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
        click.echo("RocksDB is the truth: import the damaged tables again.")
    elif tiers:
        click.echo("LMDB holds copies: stop the daemon, delete the lmdb folder, start it again.")


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
