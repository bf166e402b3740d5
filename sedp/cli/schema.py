"""`sedp schema`: the JSON Schema that editors check a config with."""

from __future__ import annotations

import click


@click.command(
    epilog="Examples:\n\n  sedp schema > configs/sedp.schema.json\n\n"
    "Then put this line on top of a config:\n\n"
    "  # yaml-language-server: $schema=./sedp.schema.json"
)
def command() -> None:
    """Print the JSON Schema (2020-12) of the config file.

    It covers all installed stage kinds with their params. Editors with a YAML language server
    complete keys, show their documentation, and mark mistakes while you type.
    """
    from sedp.config.schema import format_schema, installed_stages, make_schema

    click.echo(format_schema(make_schema(installed_stages())), nl=False)
