"""Encryption: from the PEM files of the config to what a listener needs.

TLS 1.2 or later, and with `client_ca` only for callers whose certificate one of those CAs signed;
who a certificate's holder is and what he may do is the guard's to say. A reload makes a new context
for new connections; those that are open keep theirs.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from sedp.config.security_settings import TlsSettings
from sedp.errors import ConfigError

FILE_BYTES_MAX = 1 << 20
_CRL = b"-----BEGIN X509 CRL-----"
_VALIDITY = {9: "is not valid yet", 10: "has expired"}  # X509_V_ERR_CERT_…, as OpenSSL counts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM texts.

    Args:
        certificate: of the server, then its chain.
        key: private; it fits the certificate.
        client_ca: of callers, with revocation lists if there are any; `None`: callers need none.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None


def read_tls_files(settings: TlsSettings, folder: Path) -> TlsFiles:
    """What the config names; checked by `make_context` alone.

    Args:
        folder: where relative paths start.

    Raises:
        ConfigError: a file cannot be read.
    """
    client_ca = settings.client_ca
    return TlsFiles(
        _read("certificate", folder / settings.certificate),
        _read("key", folder / settings.key),
        None if client_ca is None else _read("client_ca", folder / client_ca),
    )


def make_context(settings: TlsSettings, folder: Path) -> ssl.SSLContext:
    """What a listener needs for new connections. A certificate out of its time is only logged.

    Args:
        folder: where relative paths start.

    Raises:
        ConfigError: a file cannot be read, is no PEM, or key and certificate do not fit.
    """
    files = read_tls_files(settings, folder)  # first, for errors that name the file
    context = _server_context(settings, folder)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    if settings.client_ca is not None:
        _demand_certificates(context, folder / settings.client_ca)
        if files.client_ca is not None and _CRL in files.client_ca:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if problem := _find_validity_problem(settings, folder):
        log.warning("daemon.tls.certificate: %s %s; renew it", settings.certificate, problem)
    return context


def _server_context(settings: TlsSettings, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = folder / settings.certificate, folder / settings.key

    def refuse_password() -> str:
        raise ConfigError(f"daemon.tls.key: {key} asks for a password; store it without one")

    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as err:
        if err.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"daemon.tls.key: {key} is not the key of {certificate}; name the pair"
            ) from err
        raise ConfigError(
            f"daemon.tls: {certificate} and {key} are no PEM certificate and key: "
            f"{err.reason or 'unreadable'}; name PEM files"
        ) from err
    return context


def _demand_certificates(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as err:
        raise ConfigError(
            f"daemon.tls.client_ca: {client_ca} holds no PEM certificate; name a file of CAs"
        ) from err
    context.verify_mode = ssl.CERT_REQUIRED


def _find_validity_problem(settings: TlsSettings, folder: Path) -> str:
    """What callers would say of the certificate's dates, found by calling in memory."""
    server = _server_context(settings, folder)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(folder / settings.certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it vouches for itself here
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):  # flights of a handshake, at most
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as err:
                return _VALIDITY.get(err.verify_code, "")
    return ""


def _read(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as err:
        mend = "check the path"
        raise ConfigError(f"daemon.tls.{key}: {path}: {err.strerror}; {mend}") from err
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"daemon.tls.{key}: {path} is larger than {FILE_BYTES_MAX} bytes")
    return data
