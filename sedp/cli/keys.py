"""`sedp keys`: make, show and take back API keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sedp.daemon.access.key_file import KeyEntry, KeyFile

SCOPES = ("infer", "update", "publish", "admin", "metrics")
EXAMPLES = """Examples:

    \b
    sedp keys create keys.yaml --tenant acme --scope infer
    sedp keys create keys.yaml --tenant ops --scope admin --scope metrics --expires 2027-01-31
    sedp keys list keys.yaml
    sedp keys revoke keys.yaml 3f9a01bc

    To replace a key: create a second one, reload the daemon, move the callers over, revoke the
    first, reload again. A daemon reads the file when it starts, at SIGHUP and at POST
    /admin/reload."""

file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group(epilog=EXAMPLES)
def command() -> None:
    """Make, show and take back API keys; FILE is what `daemon.auth.keys` names."""


@command.command(epilog="The key is printed once and stored nowhere: FILE holds only its hash.")
@file_argument
@click.option("--tenant", required=True, metavar="NAME", help="On whose account it is used.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="What it is for: calls to pipelines, updates of rows, loading and rolling back, reload "
    "and restart, metrics. Give it once for each.",
)
@click.option("--expires", metavar="TIME", help="When it ends, as 2027-01-31 or with T00:00:00Z.")
@click.option("--note", default="", metavar="TEXT", help="What `list` shows beside it.")
def create(
    file: Path, tenant: str, scopes: tuple[str, ...], expires: str | None, note: str
) -> None:
    """Make a key, add it to FILE, and print it."""
    import time

    import msgspec

    from sedp.daemon.access.caller import Scope
    from sedp.daemon.access.key_file import KeyEntry, edit_key_file
    from sedp.daemon.access.keys import make_key

    id_, key, sha256 = make_key()
    entry = KeyEntry(
        sha256=sha256,
        tenant=tenant,
        scopes=tuple(Scope(scope) for scope in scopes),
        created=int(time.time()),
        expires=None if expires is None else _parse_moment(expires),
        note=note,
    )
    edit_key_file(file, lambda keys: msgspec.structs.replace(keys, keys={**keys.keys, id_: entry}))
    click.echo(key)
    click.echo(f"added to {file}; it is not shown again. Reload the daemon to use it.", err=True)


@command.command("list")
@file_argument
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(file: Path, as_json: bool) -> None:
    """Show the keys and certificate names of FILE."""
    import time

    from sedp.daemon.access.key_file import read_key_file

    keys = read_key_file(file)
    if as_json:
        click.echo(_json(keys))
        return
    for id_, entry in keys.keys.items():
        click.echo(f"{id_}  {_describe(entry, time.time())}")
    for name, certificate in keys.certificates.items():
        click.echo(f"{name}  {certificate.tenant}  {','.join(certificate.scopes)}  certificate")


@command.command()
@file_argument
@click.argument("id_", metavar="ID")
def revoke(file: Path, id_: str) -> None:
    """Take the key ID out of FILE; ID is what stands between sedp_ and the next _."""
    import msgspec

    from sedp.daemon.access.key_file import edit_key_file
    from sedp.errors import ConfigError

    def without(keys: KeyFile) -> KeyFile:
        if id_ not in keys.keys:
            known = ", ".join(keys.keys) or "none"
            raise ConfigError(f"{file}: there is no key {id_!r}; there are: {known}")
        left = {other: entry for other, entry in keys.keys.items() if other != id_}
        return msgspec.structs.replace(keys, keys=left)

    edit_key_file(file, without)
    click.echo(f"revoked {id_}; reload the daemon to make it so")


def _parse_moment(text: str) -> int:
    from sedp.daemon.access.key_file import parse_moment

    try:
        return parse_moment(text)
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint="--expires") from err


def _describe(entry: KeyEntry, now_s: float) -> str:
    from sedp.daemon.access.key_file import format_moment

    end = "never expires"
    if entry.expires is not None:
        is_over = now_s >= entry.expires
        end = f"{'expired' if is_over else 'expires'} {format_moment(entry.expires)}"
    parts = (entry.tenant, ",".join(entry.scopes), end, entry.note)
    return "  ".join(part for part in parts if part)


def _json(keys: KeyFile) -> str:
    import msgspec

    from sedp.daemon.access.key_file import format_moment

    tree = msgspec.to_builtins(keys)
    for entry in tree["keys"].values():
        del entry["sha256"]
        for moment in ("created", "expires"):
            entry[moment] = entry[moment] and format_moment(entry[moment])
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode()
