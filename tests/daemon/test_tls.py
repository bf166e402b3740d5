"""TLS: what a caller needs to get through the handshake, and who he is then."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from sedp.config.security_settings import TlsSettings
from sedp.daemon.access.peer import NOBODY, Peer
from sedp.daemon.access.tls import make_context, read_tls_files
from sedp.errors import ConfigError

CA = trustme.CA()
OTHER_CA = trustme.CA()
CLIENT = CA.issue_cert("ranker.acme", common_name="ranker")


@pytest.fixture
def settings(tmp_path: Path) -> TlsSettings:
    """Paths relative to `tmp_path`; callers need a certificate of CA."""
    write_server(tmp_path, CA.issue_cert("localhost", "127.0.0.1"))
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsSettings(certificate="server.pem", key="server.key", client_ca="ca.pem")


def write_server(folder: Path, certificate: trustme.LeafCert) -> None:
    folder.joinpath("server.pem").write_bytes(
        b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    )
    certificate.private_key_pem.write_to_path(folder / "server.key")


def client(certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


async def call(server: ssl.SSLContext, caller: ssl.SSLContext) -> tuple[Peer, str]:
    """Who the server saw, over which version; as with TLS 1.3, a refusal may come on reading.

    Raises:
        OSError: the handshake failed.
    """
    seen: list[Peer] = []

    class Listen(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            seen.append(Peer.of(transport))
            transport.write(transport.get_extra_info("ssl_object").version().encode())
            transport.close()

    loop = asyncio.get_running_loop()
    async with await loop.create_server(Listen, "127.0.0.1", 0, ssl=server) as listening:
        host, port = listening.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port, ssl=caller)
        try:
            version = await reader.read()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    if not version:
        raise ConnectionResetError("the server hung up")
    return seen[0], version.decode()


async def test_a_certificate_of_the_ca_opens_the_door_and_says_who_calls(
    settings: TlsSettings, tmp_path: Path
) -> None:
    peer, version = await call(make_context(settings, tmp_path), client(CLIENT))
    assert peer == Peer(("ranker.acme", "ranker"))
    assert version == "TLSv1.3"


async def test_without_client_ca_nobody_needs_a_certificate(
    settings: TlsSettings, tmp_path: Path
) -> None:
    plain = TlsSettings(certificate=settings.certificate, key=settings.key)
    peer, _ = await call(make_context(plain, tmp_path), client(CLIENT))
    assert peer == NOBODY


YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
STRANGERS = {
    "none": None,
    "other CA": OTHER_CA.issue_cert("ranker.acme"),
    "same name, other CA": OTHER_CA.issue_cert("ranker.acme", common_name="ranker"),
    "expired": CA.issue_cert("ranker.acme", not_after=YESTERDAY),
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_others_do_not_get_through(name: str, settings: TlsSettings, tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - of ssl or of the socket, as the race goes
        await call(make_context(settings, tmp_path), client(STRANGERS[name]))


async def test_a_revoked_certificate_does_not_get_through(
    settings: TlsSettings, tmp_path: Path
) -> None:
    def serial(certificate: trustme.LeafCert) -> int:
        return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number

    good = CA.issue_cert("other.acme")
    authority = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
    key = serialization.load_pem_private_key(CA.private_key_pem.bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(serial(CLIENT)).revocation_date(now)
    revocations = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(YESTERDAY)
        .next_update(now + datetime.timedelta(days=1))
        .add_revoked_certificate(revoked.build())
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    with (tmp_path / "ca.pem").open("ab") as stream:
        stream.write(revocations.public_bytes(serialization.Encoding.PEM))
    context = make_context(settings, tmp_path)
    assert (await call(context, client(good)))[0].names == ("other.acme",)
    with pytest.raises(OSError):  # noqa: PT011
        await call(context, client(CLIENT))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
async def test_tls_1_2_is_the_least(
    version: ssl.TLSVersion, settings: TlsSettings, tmp_path: Path
) -> None:
    caller = client(CLIENT)
    caller.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # that such a version is old is the point
        caller.minimum_version = caller.maximum_version = version
    server = make_context(settings, tmp_path)
    if version is ssl.TLSVersion.TLSv1_2:
        assert (await call(server, caller))[1] == "TLSv1.2"
        return
    with pytest.raises(OSError):  # noqa: PT011
        await call(server, caller)


@pytest.mark.parametrize("key", ["certificate", "key", "client_ca"])
def test_a_file_that_is_not_there_or_not_pem_is_named(
    key: str, settings: TlsSettings, tmp_path: Path
) -> None:
    path = tmp_path / getattr(settings, key)
    path.write_text("no PEM")
    with pytest.raises(ConfigError, match=f"{path}.*PEM"):
        make_context(settings, tmp_path)
    path.unlink()
    with pytest.raises(ConfigError, match=f"daemon.tls.{key}: {path}: No such file"):
        make_context(settings, tmp_path)


def test_a_key_of_another_certificate_is_refused(settings: TlsSettings, tmp_path: Path) -> None:
    CLIENT.private_key_pem.write_to_path(tmp_path / "server.key")
    with pytest.raises(ConfigError, match=r"server.key is not the key of .*server.pem"):
        make_context(settings, tmp_path)


def test_a_key_with_a_password_is_refused_not_asked_for(
    settings: TlsSettings, tmp_path: Path
) -> None:
    file = tmp_path / "server.key"
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    form = serialization.BestAvailableEncryption(b"secret")
    pkcs8 = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, form))
    with pytest.raises(ConfigError, match="asks for a password"):
        make_context(settings, tmp_path)


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        ({"not_after": YESTERDAY}, "has expired"),
        ({"not_before": YESTERDAY + datetime.timedelta(days=30)}, "is not valid yet"),
        ({}, ""),
    ],
)
def test_a_certificate_out_of_its_time_is_served_and_logged(
    dates: dict[str, datetime.datetime],
    said: str,
    settings: TlsSettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_server(tmp_path, CA.issue_cert("localhost", **dates))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        make_context(settings, tmp_path)
    assert caplog.messages == (
        [f"daemon.tls.certificate: server.pem {said}; renew it"] if said else []
    )


def test_files_for_other_servers_are_as_they_lie_there(
    settings: TlsSettings, tmp_path: Path
) -> None:
    files = read_tls_files(settings, tmp_path)
    assert files.key == (tmp_path / "server.key").read_bytes()
    assert files.client_ca == CA.cert_pem.bytes()
