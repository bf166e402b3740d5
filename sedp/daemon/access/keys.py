"""API keys: how they are made, and whose a key or a certificate is.

A key reads `sedp_ID_SECRET`. The id finds the entry, the secret proves it: 160 random bits, of
which the file holds only the SHA-256, so that whoever reads the file cannot call. (A slow hash is
for passwords, which people choose; nobody guesses 160 bits.) An unknown id costs as much as a wrong
secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from sedp.daemon.access.caller import Caller
from sedp.daemon.access.key_file import (
    ID_HEX,
    CertificateEntry,
    KeyEntry,
    KeyFile,
    format_moment,
    read_key_file,
)

SECRET_HEX = 40
PREFIX = "sedp_"
SECRET_AT = len(PREFIX) + ID_HEX + 1
KEY_CHARS = SECRET_AT + SECRET_HEX
_NO_HASH = "0" * 64  # of no secret; stands in where the id is unknown


class KeyRing:
    """Finds callers.

    Args:
        file: as read.
    """

    def __init__(self, file: KeyFile) -> None:
        self._keys = {id_: (entry, _caller(id_, entry)) for id_, entry in file.keys.items()}
        self._certified = {name: _caller(name, entry) for name, entry in file.certificates.items()}

    def tenants(self) -> frozenset[str]:
        """All that a caller may have."""
        callers = [caller for _, caller in self._keys.values()] + [*self._certified.values()]
        return frozenset(caller.tenant for caller in callers)

    def find(self, key: str, now_s: float) -> Caller | str:
        """The holder of a whole key; else why not, for the log and never for the caller."""
        is_key = len(key) == KEY_CHARS and key.startswith(PREFIX) and key[SECRET_AT - 1] == "_"
        id_, secret = (key[len(PREFIX) : SECRET_AT - 1], key[SECRET_AT:]) if is_key else ("", "")
        entry, caller = self._keys.get(id_, (None, None))
        is_right = hmac.compare_digest(hash_secret(secret), entry.sha256 if entry else _NO_HASH)
        if not is_key:
            return "what was sent is no key"
        if entry is None or caller is None:
            return f"key {id_!r} is unknown"
        if not is_right:
            return f"key {id_} came with a wrong secret"
        if entry.expires is not None and now_s >= entry.expires:
            return f"key {id_} expired at {format_moment(entry.expires)}"
        return caller

    def find_certified(self, names: tuple[str, ...]) -> Caller | None:
        """The holder of a certificate: the first of its names that is known decides."""
        known = (self._certified.get(name) for name in names)
        return next((caller for caller in known if caller is not None), None)


def read_keys(path: Path) -> KeyRing:
    """The callers that a key file names.

    Raises:
        ConfigError: with file and line; or others on this machine may read the file.
    """
    return KeyRing(read_key_file(path))


def make_key() -> tuple[str, str, str]:
    """A new key: its id, the whole of it, and the hash of its secret."""
    id_, secret = secrets.token_hex(ID_HEX // 2), secrets.token_hex(SECRET_HEX // 2)
    return id_, f"{PREFIX}{id_}_{secret}", hash_secret(secret)


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _caller(id_: str, entry: KeyEntry | CertificateEntry) -> Caller:
    return Caller(id_, entry.tenant, frozenset(entry.scopes))
