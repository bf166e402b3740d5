"""`sedp audit`: whether an audit log is as it was written."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLES = """Examples:

    \b
    sedp audit verify audit.log
    sedp audit verify audit.log.2 audit.log.1 audit.log

    Who may write a log can write all of it anew, or cut off its end. Keep the head that is printed
    where he cannot write, and compare: it must be the head of a shorter log, or of this one."""


@click.group()
def command() -> None:
    """Check the log that `daemon.audit_log` names."""


@command.command(epilog=EXAMPLES)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def verify(files: tuple[Path, ...]) -> None:
    """Follow the chain through FILE, or through rotated files from the oldest on.

    Names the first line that was changed, added or taken out, and exits with 1.
    """
    from sedp.daemon.access.audit_chain import BrokenChain, split_lines
    from sedp.daemon.access.audit_chain import verify as verify_lines

    head: str | None = None
    for file in files:
        with file.open("rb") as stream:
            try:
                chain = verify_lines(split_lines(stream), head)
            except BrokenChain as err:
                raise BrokenChain(f"{file}: {err}") from err
        torn = f", {chain.torn} cut short by a crash" if chain.torn else ""
        click.echo(f"{file}: {chain.records} records{torn}; head {chain.head}")
        head = chain.head
