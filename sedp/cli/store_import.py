"""`sedp store import`: a table from a file, as a new version that is current at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sedp.cli.options import (
    bytes_option,
    file_argument,
    file_options,
    folder_argument,
    progress_bar,
    split_names,
)
from sedp.errors import ConfigError

if TYPE_CHECKING:
    from sedp.storage.bucket import Layout
    from sedp.storage.row_codec import RowFormat


@click.command(
    "import",
    epilog="Examples:\n\n  sedp store import .sedp/store user rows.npz\n\n"
    "  sedp store import .sedp/store ad ads.parquet --id ad_id --columns ctr,price --default 0",
)
@folder_argument("path")
@click.argument("name")
@file_argument
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
@file_options
@click.option(
    "--row-format",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="How float32 rows are stored; the smaller ones round.",
)
@click.option(
    "--layout",
    type=click.Choice(["hashed", "dense"]),
    default="hashed",
    show_default=True,
    help="dense: keys are 0 to about the number of rows; smaller and faster on disk.",
)
@bytes_option(
    "lmdb",
    "Most that a version may take in LMDB, e.g. 20GiB; without it all rows are copied there.",
)
@click.option(
    "--onto-current",
    is_flag=True,
    help="FILE is a delta: the new version has the rows of the current one too.",
)
def command(
    path: Path,
    name: str,
    file: Path,
    dtype: str | None,
    default: str,
    columns: str,
    id_column: str,
    tensor: str,
    row_format: RowFormat,
    layout: Layout,
    lmdb_bytes: int | None,
    onto_current: bool,
) -> None:
    """Publish FILE as the next version of table NAME; the store at PATH is made if need be.

    FILE is .npz or .safetensors (arrays `keys` [n] and `rows` [n, dim], or one [n, dim] whose
    keys are 0 to n-1), or .parquet, .arrow, .arrows or .feather (a column of ids, and one
    fixed-size-list column or several number columns). Keys come in any order; of one given twice,
    the last counts. The version before stays current until all of the new one is on disk, and is
    kept to go back to. Daemons that follow the store then answer from the new one. Interrupted, the
    same command goes on where it was, if FILE is still the same.
    """
    from sedp.storage.import_progress import ImportSource
    from sedp.storage.opening import LMDB_BYTES_MAX
    from sedp.storage.store import ParameterStore
    from sedp.storage.table_formats import open_table_file
    from sedp.storage.table_spec import TableSpec

    source = open_table_file(
        file, dtype=dtype or "", columns=split_names(columns), id_column=id_column, tensor=tensor
    )
    row = _default_row(default, source.dim)
    spec = TableSpec(
        name,
        source.dim,
        source.dtype,
        row,
        columns=source.columns,
        row_format=row_format,
        layout=layout,
    )
    limit = LMDB_BYTES_MAX if lmdb_bytes is None else lmdb_bytes
    with (
        ParameterStore.open(path, ram_bytes=0, lmdb_bytes=limit, create=True) as store,
        progress_bar(f"importing {name}", source.row_count) as progress,
    ):
        rows = ImportSource.of_file(file, f"{id_column} {tensor}", source.chunks_from)
        spec = store.import_table(spec, rows, progress=progress, onto_current=onto_current)
        store.settle()
    click.echo(f"table {name!r}: version {spec.version} is current")


def _default_row(text: str, dim: int) -> tuple[float | int, ...]:
    try:
        row = tuple(_number(part) for part in split_names(text))
    except ValueError as err:
        raise ConfigError(f"--default {text!r}: {err}; give numbers, comma-separated") from err
    return row * dim if len(row) == 1 else row


def _number(text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        return float(text)
