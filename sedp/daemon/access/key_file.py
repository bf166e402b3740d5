"""The file of API keys and certificate names: its grammar, reading it, writing it.

YAML like the config, and read by the same reader: faults come with file and line, no tag can name
a Python object. It holds no secrets, but whoever can write it can let himself in.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.config.section import Name, Section
from sedp.daemon.access.caller import Scope
from sedp.errors import ConfigError
from sedp.units import TextForm

ID_HEX = 8
KEYS_MAX = 2048  # with their notes they fit into the largest file that is read, 1 MiB
HEADER = "# API keys of SEDP, see `sedp keys --help`. Remarks here are lost; use note.\n"


def parse_moment(text: str) -> int:
    """Unix seconds of `2027-01-31T00:00:00Z`, or of the midnight that starts `2027-01-31`, UTC.

    Raises:
        ValueError: not of that form.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write one like 2027-01-31T00:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def format_moment(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


MOMENT = TextForm(
    "moment",
    "a time like 2027-01-31T00:00:00Z",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{5,8}(Z|[+-][0-9:]{5})?)?$",
    parse_moment,
    format_moment,
)
Scopes = Annotated[tuple[Scope, ...], Meta(min_length=1, description="What it may be used for.")]
Tenant = Annotated[Name, Meta(description="On whose account.")]


class KeyEntry(Section, frozen=True, kw_only=True):
    """One API key, without its secret."""

    sha256: Annotated[
        str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the secret part, in hex.")
    ]
    tenant: Tenant
    scopes: Scopes
    created: Annotated[int, MOMENT.meta("When it was made.")] = 0
    expires: Annotated[
        Annotated[int, MOMENT.meta("A time.")] | None,
        Meta(description="From then on it is refused."),
    ] = None
    note: Annotated[str, Meta(max_length=200, description="For people.")] = ""


class CertificateEntry(Section, frozen=True, kw_only=True):
    """The holder of a client certificate."""

    tenant: Tenant
    scopes: Scopes


KeyId = Annotated[
    str,
    Meta(
        pattern=f"^[0-9a-f]{{{ID_HEX}}}$",
        extra={"expected": "the 8 hex digits after sedp_ of a key"},
    ),
]


class KeyFile(Section, frozen=True, kw_only=True):
    """The whole file."""

    api_version: Annotated[
        str, Meta(pattern="^sedp/v1$", description="Version of this file's grammar.")
    ] = "sedp/v1"
    keys: Annotated[
        dict[KeyId, KeyEntry], Meta(max_length=KEYS_MAX, description="API keys by their id.")
    ] = msgspec.field(default_factory=dict)
    certificates: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=255)], CertificateEntry],
        Meta(max_length=KEYS_MAX, description="By a DNS name or URI of subjectAltName, or the CN."),
    ] = msgspec.field(default_factory=dict)


def read_key_file(path: Path) -> KeyFile:
    """The checked contents of a key file.

    Raises:
        ConfigError: with file and line; or everybody on the machine may read the file.
    """
    try:
        mode = path.stat().st_mode
    except OSError as err:
        mend = "make it with `sedp keys create`"
        raise ConfigError(f"{path}: cannot be read: {err.strerror}; {mend}") from err
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        shown = f"{stat.S_IMODE(mode):04o}"
        raise ConfigError(f"{path}: mode {shown} lets others in; chmod 0600, or 0640 for a group")
    document = read_document(path, {})
    faults = Faults(document)
    file = decode(document.tree, KeyFile, (), faults)
    faults.raise_found()
    assert file is not None
    return file


def edit_key_file(path: Path, edit: Callable[[KeyFile], KeyFile]) -> None:
    """Replace the file, if there is one, by an edited one in one step; one editor at a time.

    Its mode stays; a new one is for its owner alone.

    Raises:
        ConfigError: it cannot be read or written, another editor is at it, or the result could not
            be read again.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as err:
        mend = "wait for it; if there is none, remove that file"
        raise ConfigError(f"{new}: is there: another `sedp keys` is at work; {mend}") from err
    except OSError as err:
        raise ConfigError(f"{path}: cannot be written: {err.strerror}; check the folder") from err
    try:
        with open(fd, "w", encoding="utf-8") as stream:
            before = read_key_file(path) if path.exists() else KeyFile()
            if path.exists():
                os.fchmod(fd, stat.S_IMODE(path.stat().st_mode))
            stream.write(HEADER + "".join(_write_lines(_checked(edit(before)))))
            stream.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError as err:
        raise ConfigError(f"{path}: cannot be written: {err.strerror}; check the disk") from err
    finally:
        new.unlink(missing_ok=True)


def _checked(file: KeyFile) -> KeyFile:
    """`file`, if it could be read again."""
    try:
        return msgspec.convert(msgspec.to_builtins(file), KeyFile)
    except msgspec.ValidationError as err:
        raise ConfigError(f"this cannot be written: {err}; tenants are a-z, 0-9, _ and -") from err


def _write_lines(file: KeyFile) -> Iterator[str]:
    yield f"api_version: {file.api_version}\n"
    for section, entries in (("keys", file.keys), ("certificates", file.certificates)):
        if entries:
            yield f"{section}:\n"
        for name, entry in entries.items():
            yield f"  {_quote(name)}:\n"
            yield from _write_entry(entry)


def _write_entry(entry: KeyEntry | CertificateEntry) -> Iterator[str]:
    for field in msgspec.structs.fields(entry):
        value = getattr(entry, field.name)
        if field.name == "scopes":
            yield f"    scopes: [{', '.join(value)}]\n"
        elif field.name in ("created", "expires"):
            if value is not None:
                yield f"    {field.name}: {_quote(format_moment(value))}\n"
        elif value:
            yield f"    {field.name}: {_quote(value)}\n"


def _quote(text: str) -> str:
    """As YAML in double quotes, which JSON's texts are; `${` would be a variable."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${")
