"""TLS for the gRPC plane, from the same files as for HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from sedp.config.security_settings import TlsSettings
from sedp.daemon.access.guard import NOBODY, Peer
from sedp.daemon.access.tls import read_tls_files
from sedp.errors import ConfigError

_CRL = b"-----BEGIN X509 CRL-----"
# Where gRPC keeps the names in a certificate, the stronger ones first.
_NAMES = ("peer_dns", "peer_uri", "x509_common_name")


class Certificates:
    """What the server shows, and whom it takes; new connections get what was put in use last.

    Args:
        settings: of the port for all its life: whether callers must show a certificate stays.
        folder: where relative paths start.

    Raises:
        ConfigError: a file cannot be read, or asks for more than gRPC can check.
    """

    def __init__(self, settings: TlsSettings, folder: Path) -> None:
        self.asks_callers = settings.client_ca is not None
        self.current: object = self.read(settings, folder)

    def credentials(self) -> grpc.ServerCredentials:
        """For the port."""
        return grpc.dynamic_ssl_server_credentials(
            self.current, lambda: self.current, self.asks_callers
        )

    def read(self, settings: TlsSettings, folder: Path) -> object:
        """What could be put in use as `current`.

        Raises:
            ConfigError: as above.
        """
        files = read_tls_files(settings, folder)
        if (files.client_ca is not None) != self.asks_callers:
            raise ConfigError(
                "daemon.tls.client_ca: the gRPC port cannot begin or cease to ask for "
                "certificates while it serves; restart the daemon"
            )
        if files.client_ca is not None and _CRL in files.client_ca:
            raise ConfigError(
                "daemon.tls.client_ca: it has a revocation list, which gRPC would not look at; "
                "take it out, or leave daemon.grpc out"
            )
        return grpc.ssl_server_certificate_configuration(
            [(files.key, files.certificate)], files.client_ca
        )


def certified_peer(context: Any) -> Peer:
    """The names in a caller's certificate, which the handshake verified; see `Peer`."""
    found = context.auth_context()
    names = [name.decode() for kind in _NAMES for name in found.get(kind, ())]
    return Peer(tuple(dict.fromkeys(names))) if names else NOBODY
