"""Who may call over gRPC, and how many calls at once: keys, scopes, quotas, TLS, slots."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from grpc import StatusCode

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.security_settings import TenantSettings, TlsSettings
from sedp.daemon.access.caller import Scope
from sedp.daemon.access.guard import Guard, Rules
from sedp.daemon.access.key_file import CertificateEntry, KeyEntry, KeyFile
from sedp.daemon.access.keys import KeyRing, make_key
from sedp.errors import ConfigError

from .calls import until
from .grpc_front import INFER, SERVICE, Front, call, open_front, request

GOOD = request({"x": ("FP32", np.ones(3, np.float32))})
SLOW = request({"x": ("FP32", np.ones(3, np.float32))}, "gate")
LIVE = f"/{SERVICE}/ServerLive"
HEALTH = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
ID, KEY, SHA256 = make_key()
ADMIN_ID, ADMIN_KEY, ADMIN_SHA256 = make_key()
FILE = KeyFile(
    keys={
        ID: KeyEntry(sha256=SHA256, tenant="acme", scopes=(Scope.INFER,)),
        ADMIN_ID: KeyEntry(sha256=ADMIN_SHA256, tenant="acme", scopes=(Scope.ADMIN,)),
    },
    certificates={"ranker.example": CertificateEntry(tenant="acme", scopes=(Scope.INFER,))},
)
Start = Callable[..., Any]


def keyed(**limits: Any) -> Guard:
    return Guard(Rules(KeyRing(FILE), {"acme": TenantSettings(**limits)}, {}))


def bearer(*keys: str) -> tuple[tuple[str, str], ...]:
    return tuple(("authorization", f"Bearer {key}") for key in keys)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Front:
            front = await open_front(**options)
            stack.push_async_callback(front.close)
            return front

        yield start


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        (bearer(KEY), StatusCode.OK),
        ((("x-api-key", KEY),), StatusCode.OK),
        ((), StatusCode.UNAUTHENTICATED),
        (bearer(KEY[:-1] + "x"), StatusCode.UNAUTHENTICATED),
        (bearer(KEY, KEY), StatusCode.UNAUTHENTICATED),
        ((("authorization", KEY),), StatusCode.UNAUTHENTICATED),
        (bearer(ADMIN_KEY), StatusCode.PERMISSION_DENIED),
    ],
)
async def test_a_call_needs_one_key_with_the_scope(
    start: Start, metadata: Any, code: StatusCode
) -> None:
    front = await start(guard=keyed())
    async with grpc.aio.insecure_channel(front.address) as channel:
        reply = await call(channel, INFER, GOOD, metadata=metadata)
        assert reply.code is code, reply.text
        if code is StatusCode.UNAUTHENTICATED:
            assert "Bearer" in reply.metadata["www-authenticate"]


async def test_without_a_key_nothing_answers_but_health(start: Start) -> None:
    front = await start(guard=keyed())
    names = ["ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"]
    names += ["RepositoryIndex", "ModelInfer"]
    async with grpc.aio.insecure_channel(front.address) as channel:
        for name in names:
            assert (await call(channel, f"/{SERVICE}/{name}", b"")).code is (
                StatusCode.UNAUTHENTICATED
            ), name
        for path in (f"/{SERVICE}/ModelStreamInfer", REFLECTION):
            stream = channel.stream_stream(path)(iter([b""]))
            assert await stream.code() is StatusCode.UNAUTHENTICATED, path
        for path in (LIVE, f"/{SERVICE}/ServerReady", HEALTH):
            assert (await call(channel, path, b"")).code is StatusCode.OK, path


async def test_a_caller_without_a_key_is_refused_before_its_message_is_read(start: Start) -> None:
    front = await start(guard=keyed())
    async with grpc.aio.insecure_channel(front.address) as channel:
        silent = channel.stream_unary(INFER)()  # it never sends its message
        assert await silent.code() is StatusCode.UNAUTHENTICATED


async def test_a_used_up_quota_is_resource_exhausted(start: Start) -> None:
    front = await start(guard=keyed(in_flight_max=1))
    async with grpc.aio.insecure_channel(front.address) as channel:
        waiting = channel.unary_unary(INFER)(SLOW, metadata=bearer(KEY))
        await until(lambda: front.in_flight("gate") == 1)
        refused = await call(channel, INFER, GOOD, metadata=bearer(KEY))
        assert refused.code is StatusCode.RESOURCE_EXHAUSTED
        assert int(refused.metadata["retry-after"]) >= 1
        waiting.cancel()
        await until(lambda: front.plane.statistics().connections == 0)
        assert (await call(channel, INFER, GOOD, metadata=bearer(KEY))).code is StatusCode.OK


async def test_calls_over_the_limit_are_refused_and_the_others_served(start: Start) -> None:
    front = await start(connections_max=2)
    async with grpc.aio.insecure_channel(front.address) as channel:
        waiting = [channel.unary_unary(INFER)(SLOW) for _ in range(2)]
        await until(lambda: front.in_flight("gate") == 2)
        refused = await call(channel, INFER, GOOD)
        assert refused.code is StatusCode.RESOURCE_EXHAUSTED
        for one in waiting:
            one.cancel()
        await until(lambda: front.plane.statistics().connections == 0)
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK


async def test_streams_cannot_take_every_place(start: Start) -> None:
    front = await start(connections_max=8)
    async with grpc.aio.insecure_channel(front.address) as channel:
        watches = [channel.unary_stream(WATCH)(b"") for _ in range(2)]
        for watch in watches:
            await watch.read()
        surplus = channel.unary_stream(WATCH)(b"")
        assert await surplus.code() is StatusCode.RESOURCE_EXHAUSTED
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK
        watches[0].cancel()
        await until(lambda: front.plane.statistics().connections == 1)
        again = channel.unary_stream(WATCH)(b"")
        assert await again.read()


async def test_a_message_that_does_not_come_ends_the_call(start: Start) -> None:
    front = await start(body_timeout_ns=100_000_000)
    async with grpc.aio.insecure_channel(front.address) as channel:
        silent = channel.stream_unary(INFER)()
        assert await silent.code() is StatusCode.DEADLINE_EXCEEDED
        assert "0.1 s" in await silent.details()
        empty = channel.stream_unary(INFER)(iter(()))
        assert await empty.code() is StatusCode.INVALID_ARGUMENT


# TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def write_server(folder: Path, authority: trustme.CA) -> None:
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(folder / "key.pem")
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    (folder / "cert.pem").write_bytes(chain)


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    write_server(tmp_path, authority)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"folder": tmp_path, "tls": TlsSettings(certificate="cert.pem", key="key.pem")}


def trust(authority: trustme.CA, cert: trustme.LeafCert | None = None) -> Any:
    ca = authority.cert_pem.bytes()
    if cert is None:
        return grpc.ssl_channel_credentials(ca)
    chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
    return grpc.ssl_channel_credentials(ca, cert.private_key_pem.bytes(), chain)


async def test_an_encrypted_port_takes_only_tls(
    start: Start, authority: trustme.CA, tls: dict[str, Any]
) -> None:
    front = await start(**tls)
    async with grpc.aio.secure_channel(front.address, trust(authority)) as channel:
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK
    async with grpc.aio.insecure_channel(front.address) as channel:
        assert (await call(channel, INFER, GOOD)).code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ranker.example", StatusCode.OK),
        ("other.example", StatusCode.UNAUTHENTICATED),
        (None, StatusCode.UNAVAILABLE),
    ],
)
async def test_a_client_certificate_says_who_calls(
    start: Start, authority: trustme.CA, tls: dict[str, Any], name: str | None, code: StatusCode
) -> None:
    settings = TlsSettings(certificate="cert.pem", key="key.pem", client_ca="ca.pem")
    front = await start(guard=keyed(), folder=tls["folder"], tls=settings)
    own = authority.issue_cert(name) if name else None
    async with grpc.aio.secure_channel(front.address, trust(authority, own)) as channel:
        assert (await call(channel, INFER, GOOD)).code is code


async def test_certificates_are_replaced_for_new_connections(
    start: Start, authority: trustme.CA, tls: dict[str, Any]
) -> None:
    front = await start(**tls)
    folder, settings = tls["folder"], DaemonSettings(tls=tls["tls"])
    other = trustme.CA()
    write_server(folder, other)
    fresh = front.plane.prepare_certificates(settings, folder)
    async with grpc.aio.secure_channel(front.address, trust(authority)) as channel:
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK
    front.plane.use_certificates(fresh)
    async with grpc.aio.secure_channel(front.address, trust(other)) as channel:
        assert (await call(channel, INFER, GOOD)).code is StatusCode.OK


async def test_what_grpc_cannot_check_or_change_is_refused(
    start: Start, tls: dict[str, Any]
) -> None:
    front = await start(**tls)
    folder = tls["folder"]
    with pytest.raises(ConfigError, match="cease to encrypt"):
        front.plane.prepare_certificates(DaemonSettings(), folder)
    asking = TlsSettings(certificate="cert.pem", key="key.pem", client_ca="ca.pem")
    with pytest.raises(ConfigError, match="begin or cease to ask"):
        front.plane.prepare_certificates(DaemonSettings(tls=asking), folder)
    with (folder / "ca.pem").open("a") as stream:
        stream.write("-----BEGIN X509 CRL-----\n")
    with pytest.raises(ConfigError, match="revocation list"):
        await start(folder=folder, tls=asking)
