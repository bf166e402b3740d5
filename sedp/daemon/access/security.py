"""What the files behind a config say about who may call, read anew at every start and reload."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from sedp.config.loading import Config
from sedp.daemon.access.guard import Rules, read_rules
from sedp.daemon.access.tls import make_context


@dataclass(frozen=True, slots=True)
class Security:
    """Read whole before any of it is used, so that a broken file leaves the old rules in force.

    Args:
        tls: for connections from now on; `None` without encryption.
        grpc_certificates: the same as gRPC wants it, when it is on and this is a reload.
    """

    rules: Rules
    tls: ssl.SSLContext | None
    grpc_certificates: object = None

    @classmethod
    def read(cls, config: Config) -> Security:
        """Raises ConfigError: a file is not there, or wrong."""
        tls = config.daemon.tls
        return cls(read_rules(config), make_context(tls, config.path.parent) if tls else None)
