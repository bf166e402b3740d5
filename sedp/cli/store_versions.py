"""`sedp store rollback`: back to a version that was current before."""

from __future__ import annotations

from pathlib import Path

import click

from sedp.cli.options import folder_argument


@click.command(
    "rollback",
    epilog="""Examples:

    \b
    sedp store rollback .sedp/store user
    sedp store rollback .sedp/store user --version 3""",
)
@folder_argument("path")
@click.argument("name")
@click.option(
    "--version",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Go to this one. Without it: the highest but the current one.",
)
def command(path: Path, name: str, version: int | None) -> None:
    """Make another kept version of table NAME current; a second rollback goes forth again.

    A table keeps two versions: the current one, and the one that was current before the last
    import. `sedp store stats` shows them. Online updates belong to the version they were made in.
    """
    from sedp.storage.store import ParameterStore

    with ParameterStore.open(path, ram_bytes=0) as store:
        spec = store.roll_back(name, version)
        others = [other for other in store.versions(name) if other != spec.version]
        store.settle()
    kept = f"; kept: {', '.join(map(str, others))}" if others else ""
    click.echo(f"table {name!r}: version {spec.version} is current{kept}")
