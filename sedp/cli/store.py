"""`sedp store`: what can be done with a parameter store from a shell, by groups of commands."""

from __future__ import annotations

import click

from sedp.cli import (
    store_advice,
    store_copies,
    store_import,
    store_inspection,
    store_update,
    store_versions,
)

EXAMPLES = """Examples:

    \b
    sedp store import .sedp/store user rows.npz
    sedp store stats .sedp/store
    sedp store update .sedp/store user changed.npz
    sedp store rollback .sedp/store user
    sedp store backup .sedp/store /backups/monday

    Commands that change a store work while daemons follow it; one process at a time writes."""


@click.group(epilog=EXAMPLES)
def command() -> None:
    """Fill, change, keep and measure the parameter store."""


for _part in (
    store_import.command,
    store_update.command,
    store_versions.command,
    store_inspection.stats,
    store_inspection.verify,
    store_copies.backup,
    store_copies.restore,
    store_advice.command,
):
    command.add_command(_part)
