"""`sedp store update`: rows of a file into the current version of a table, while it is served."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sedp.cli.options import (
    file_argument,
    file_options,
    folder_argument,
    progress_bar,
    split_names,
)
from sedp.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from sedp.storage.imports.table_file import Chunk, TableFile
    from sedp.storage.store import ParameterStore

ID_CHARS_MAX = 100  # a part of the file has the row it starts at behind it


@dataclass(frozen=True, slots=True)
class Sending:
    """How the rows are sent.

    Args:
        id: of the whole file; "" for none.
    """

    table: str
    durability: Literal["async", "sync"]
    id: str
    norm_max: float | None


@click.command(
    "update",
    epilog="""Examples:

    \b
    sedp store update .sedp/store user changed.npz
    sedp store update .sedp/store user changed.npz --update-id 2025-06-01 --norm-max 10
    sedp store update .sedp/store ad ads.parquet --id ad_id --durability async""",
)
@folder_argument("path")
@click.argument("name")
@file_argument
@file_options
@click.option(
    "--durability",
    type=click.Choice(["sync", "async"]),
    default="sync",
    show_default=True,
    help="sync: every part of the file is on disk before the next is sent; async: all of it when "
    "the command ends.",
)
@click.option(
    "--update-id",
    default="",
    metavar="TEXT",
    help="Name of this update. A command that was cut off goes on where it was, if given the same "
    "name and file again.",
)
@click.option(
    "--norm-max",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    metavar="X",
    help="Refuse rows whose Euclidean norm is above X.",
)
def command(
    path: Path,
    name: str,
    file: Path,
    columns: str,
    id_column: str,
    tensor: str,
    durability: Literal["async", "sync"],
    update_id: str,
    norm_max: float | None,
) -> None:
    """Write the rows of FILE into the current version of table NAME.

    Keys that the table has get the new rows, others are added; all other rows stay. Processes that
    follow the store see them within a fraction of a second. FILE is as for `sedp store import`; of
    Parquet and Arrow files the table's own columns are taken unless --columns names others. It is
    sent in parts, each of which is applied as a whole or not at all.
    """
    from sedp.storage.imports.formats import open_table_file
    from sedp.storage.store import ParameterStore

    if len(update_id) > ID_CHARS_MAX:
        raise ConfigError(
            f"--update-id of {len(update_id)} characters; it may have {ID_CHARS_MAX}: shorten it"
        )
    sending = Sending(name, durability, update_id, norm_max)
    with ParameterStore.open(path, ram_bytes=0) as store:
        spec = store.table(name).spec
        source = open_table_file(
            file,
            dtype=spec.dtype,
            columns=split_names(columns) or spec.columns,
            id_column=id_column,
            tensor=tensor,
        )
        if source.dim != spec.dim:
            raise ConfigError(
                f"{file} has rows of {source.dim} numbers, table {name!r} of {spec.dim}; choose "
                "them with --columns or --tensor, or import the file as a new version"
            )
        started = time.perf_counter()
        with progress_bar(f"updating {name}", source.row_count) as progress:
            repeated = _send(store, source, sending, progress)
        seconds = time.perf_counter() - started
    updated = source.row_count - repeated
    click.echo(
        f"table {name!r} version {spec.version}: {updated:,} rows updated in {seconds:.2f} s, "
        f"{updated / seconds:,.0f} rows/s" + (f"; {repeated:,} had been before" if repeated else "")
    )


def _send(
    store: ParameterStore, source: TableFile, sending: Sending, progress: Callable[[int], None]
) -> int:
    """Update by parts; returns how many rows an update of the same id had written before.

    Raises:
        StoreError: a part was refused or failed; the message says how far it came.
    """
    done = repeated = 0
    try:
        for keys, rows in _parts(source):
            receipt = store.update(
                sending.table,
                keys,
                rows,
                durability=sending.durability,
                id=sending.id and f"{sending.id}@{done}",
                norm_max=sending.norm_max,
            )
            repeated += len(keys) if receipt.is_repeat else 0
            done += len(keys)
            progress(done)
    except StoreError as err:
        if not done:
            raise
        raise StoreError(f"{err}; the file's first {done:,} rows are updated") from err
    return repeated


def _parts(source: TableFile) -> Iterator[Chunk]:
    from sedp.storage.updates.updates import UPDATE_ROWS_MAX

    for keys, rows in source.chunks:
        for start in range(0, len(keys), UPDATE_ROWS_MAX):
            part = slice(start, start + UPDATE_ROWS_MAX)
            yield keys[part], rows[part]
