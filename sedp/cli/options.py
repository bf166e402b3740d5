"""Parts that several verbs' command lines are made of."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


def folder_argument(name: str) -> Callable[[Any], Any]:
    """A positional folder, which need not be there."""
    return click.argument(name, type=click.Path(file_okay=False, path_type=Path))


def parse_weeks(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """First and last of `48` or `48-53`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no range of weeks; write 48 or 48-53", ctx, param)
    return int(match[1]), int(match[2] or match[1])


def bytes_option(flag: str, help_text: str) -> Callable[[Any], Any]:
    """An option `--<flag> SIZE` whose value is bytes, or None."""
    return click.option(
        f"--{flag}", f"{flag}_bytes", metavar="SIZE", callback=_parse_bytes, help=help_text
    )


def _parse_bytes(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    from sedp.units import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as err:
        raise click.BadParameter(str(err), ctx, param) from err


file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def file_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which part of a file makes the rows of a table."""
    for option in reversed(_FILE_OPTIONS):
        command = option(command)
    return command


_FILE_OPTIONS = (
    click.option(
        "--columns",
        default="",
        metavar="NAMES",
        help="Parquet, Arrow: the columns a row is made of, comma-separated. NPZ, safetensors: "
        "names for the numbers of a row.",
    ),
    click.option(
        "--id",
        "id_column",
        default="",
        metavar="NAME",
        help="Parquet, Arrow: the ids' column. Without it: id.",
    ),
    click.option(
        "--tensor",
        default="",
        metavar="NAME",
        help="NPZ, safetensors: the array of rows; a row's key is its place in it, from 0.",
    ),
)


def split_names(text: str) -> tuple[str, ...]:
    """The parts of `a, b`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A function to tell how far it is, drawn on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
