"""API keys and certificate names: their file, and who it says a caller is.

A key reads `sedp_ID_SECRET`. The id finds the entry, the secret proves it: 160 random bits, of
which the file holds only the SHA-256, so that whoever reads the file cannot call. (A slow hash is
for passwords, which people choose; nobody guesses 160 bits.) An unknown id costs as much as a wrong
secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.config.pipeline_settings import Name, Section
from sedp.config.units import TextForm
from sedp.daemon.caller import Caller, Scope
from sedp.errors import ConfigError

ID_HEX = 8
SECRET_HEX = 40
KEY_PATTERN = re.compile(rf"sedp_([0-9a-f]{{{ID_HEX}}})_([0-9a-f]{{{SECRET_HEX}}})", re.ASCII)
_NO_HASH = "0" * 64  # of no secret; stands in where the id is unknown


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
        dict[KeyId, KeyEntry], Meta(max_length=10_000, description="API keys by their id.")
    ] = msgspec.field(default_factory=dict)
    certificates: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=255)], CertificateEntry],
        Meta(max_length=10_000, description="By a DNS name or URI of subjectAltName, or the CN."),
    ] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Finds callers.

    Args:
        file: as read.
    """

    file: KeyFile
    _callers: Mapping[str, Caller] = field(init=False)
    _certified: Mapping[str, Caller] = field(init=False)

    def __post_init__(self) -> None:
        callers = {id_: _caller(id_, entry) for id_, entry in self.file.keys.items()}
        certified = {name: _caller(name, entry) for name, entry in self.file.certificates.items()}
        object.__setattr__(self, "_callers", callers)
        object.__setattr__(self, "_certified", certified)

    def tenants(self) -> frozenset[str]:
        return frozenset(
            caller.tenant for known in (self._callers, self._certified) for caller in known.values()
        )

    def find(self, key: str, now_s: float) -> Caller | str:
        """The holder of a whole key; else why not, for the log and never for the caller."""
        match = KEY_PATTERN.fullmatch(key)
        id_, secret = match.groups() if match else ("", key)
        entry = self.file.keys.get(id_)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        is_right = hmac.compare_digest(digest, entry.sha256 if entry else _NO_HASH)
        if match is None:
            return "what was sent is no key"
        if entry is None:
            return f"key {id_} is unknown"
        if not is_right:
            return f"key {id_} came with a wrong secret"
        if entry.expires is not None and now_s >= entry.expires:
            return f"key {id_} expired at {format_moment(entry.expires)}"
        return self._callers[id_]

    def find_certified(self, names: tuple[str, ...]) -> Caller | None:
        """The holder of a certificate: the first of its names that is known decides."""
        known = (self._certified.get(name) for name in names)
        return next((caller for caller in known if caller is not None), None)


def make_secret() -> tuple[str, str]:
    """A new id and secret."""
    return secrets.token_hex(ID_HEX // 2), secrets.token_hex(SECRET_HEX // 2)


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


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


def read_keys(path: Path) -> KeyRing:
    """As `read_key_file`, ready to find callers."""
    return KeyRing(read_key_file(path))


def _caller(id_: str, entry: KeyEntry | CertificateEntry) -> Caller:
    return Caller(id_, entry.tenant, frozenset(entry.scopes))
