"""`sedp store import`: a table from a file, as a new version that is current at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
    import numpy as np
    from numpy.typing import NDArray

    from sedp.storage.imports.table_file import TableFile
    from sedp.storage.rows.bucket import Layout
    from sedp.storage.rows.codec import RowFormat
    from sedp.storage.store import ParameterStore
    from sedp.storage.table_spec import TableSpec


@click.command(
    "import",
    epilog="Examples:\n\n  sedp store import .sedp/store user rows.npz\n\n"
    "  sedp store import .sedp/store ad ads.parquet --id ad_id --columns ctr,price --default 0\n\n"
    "  sedp store import .sedp/store user hour.npz --base current --removed gone.npy",
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
    help="FILE is a delta: the new version has the rows of the current one too, copied.",
)
@click.option(
    "--base",
    default="",
    metavar="N|current",
    help="FILE is a delta on this version, which is not copied: the new one chains on it, and is "
    "current as soon as the delta is on disk. Type, default, format and layout are the base's.",
)
@click.option(
    "--removed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    metavar="KEYS",
    help="With --base: a .npy file of integer keys that have no row any more.",
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
    base: str,
    removed: Path | None,
) -> None:
    """Publish FILE as the next version of table NAME; the store at PATH is made if need be.

    FILE is .npz or .safetensors (arrays `keys` [n] and `rows` [n, dim], or one [n, dim] whose
    keys are 0 to n-1), or .parquet, .arrow, .arrows or .feather (a column of ids, and one
    fixed-size-list column or several number columns). Keys come in any order; of one given twice,
    the last counts. The version before stays current until all of the new one is on disk, and is
    kept to go back to. Daemons that follow the store then answer from the new one. Interrupted, the
    same command goes on where it was, if FILE is still the same.
    """
    from sedp.storage.imports.progress import ImportSource
    from sedp.storage.opening import LMDB_BYTES_MAX
    from sedp.storage.store import ParameterStore
    from sedp.storage.table_spec import TableSpec

    limit = LMDB_BYTES_MAX if lmdb_bytes is None else lmdb_bytes
    on, file_options = _base(base), FileOptions(file, dtype or "", columns, id_column, tensor)
    if on is None:
        source = file_options.open()
        row = _default_row(default, source.dim)
        spec = TableSpec(name, source.dim, source.dtype, row, 0, source.columns, row_format, layout)
    with ParameterStore.open(path, ram_bytes=0, lmdb_bytes=limit, create=on is None) as store:
        if on is not None:
            spec = store.table(name, None if on == "current" else on).spec
            source = file_options.open_as(spec)
        rows = ImportSource.of_file(file, f"{id_column} {tensor}", source.chunks_from)
        gone = None if removed is None else _keys(removed)
        with progress_bar(f"importing {name}", source.row_count) as progress:
            spec = store.import_table(
                spec, rows, progress=progress, onto_current=onto_current, base=on, removed=gone
            )
        click.echo(f"table {name!r}: version {spec.version}{_chain(store, name)} is current")
        store.settle()


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What the options say of the file."""

    file: Path
    dtype: str
    columns: str
    id_column: str
    tensor: str

    def open(self) -> TableFile:
        """As they say."""
        return self._open(self.dtype, split_names(self.columns))

    def open_as(self, spec: TableSpec) -> TableFile:
        """As rows of a table that is there, with its own columns where they name none."""
        source = self._open(spec.dtype, split_names(self.columns) or spec.columns)
        if source.dim != spec.dim:
            raise ConfigError(
                f"{self.file} has rows of {source.dim} numbers, table {spec.name!r} of {spec.dim}; "
                "choose them with --columns or --tensor, or import the file without --base"
            )
        return source

    def _open(self, dtype: str, columns: tuple[str, ...]) -> TableFile:
        from sedp.storage.imports.formats import open_table_file

        return open_table_file(
            self.file, dtype=dtype, columns=columns, id_column=self.id_column, tensor=self.tensor
        )


def _base(text: str) -> int | Literal["current"] | None:
    if text in ("", "current"):
        return "current" if text else None
    try:
        return int(text)
    except ValueError as err:
        raise ConfigError(f"--base {text!r} is neither a version's number nor `current`") from err


def _keys(path: Path) -> NDArray[np.uint64]:
    import numpy as np

    from sedp.storage.imports.table_file import as_keys

    try:
        with path.open("rb") as file:
            ids = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as err:
        raise ConfigError(f"--removed {path}: {err}; give a .npy file of integer keys") from err
    return as_keys(path, ids)


def _chain(store: ParameterStore, name: str) -> str:
    below = ", ".join(map(str, store.chain(name)))
    return f" on {below}" if below else ""


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
