"""Where the daemon may listen, and what it must have for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.exposure import find_exposures
from sedp.config.loading import load
from sedp.config.security_settings import AuthSettings, TenantSettings, TlsSettings
from sedp.errors import ConfigError
from tests.config.good import change

AUTH = AuthSettings(keys="keys.yaml")
TLS = TlsSettings(certificate="a", key="b")
MUTUAL_TLS = TlsSettings(certificate="a", key="b", client_ca="c")
OUTSIDE = Address("0.0.0.0", 8000)


@pytest.mark.parametrize(
    ("auth", "tls", "mend"),
    [
        (None, None, "set daemon.tls and daemon.auth"),
        (None, TLS, "set daemon.auth or daemon.tls.client_ca"),
        (AUTH, None, "set daemon.tls"),
        (AUTH, TLS, None),
        (None, MUTUAL_TLS, None),
        (AUTH, MUTUAL_TLS, None),
    ],
)
@pytest.mark.parametrize("key", ["listen", "admin", "grpc"])
def test_others_reach_it_only_with_tls_and_proof_of_who_calls(
    key: str, auth: AuthSettings | None, tls: TlsSettings | None, mend: str | None
) -> None:
    here = {"listen": Address("127.0.0.1", 1), "admin": Address("127.0.0.1", 2)}
    settings: dict[str, Any] = {**here, key: OUTSIDE}
    found = list(find_exposures(DaemonSettings(**settings, auth=auth, tls=tls)))
    if mend is None:
        assert found == []
    else:
        [(place, message)] = found
        assert place == (key,)
        assert f"other machines; {mend}, or write " in message


def test_local_sockets_need_nothing() -> None:
    local = [Address(path="/run/a.sock"), Address("localhost", 1), Address("::1", 2)]
    listen, admin, grpc = local
    assert list(find_exposures(DaemonSettings(listen=listen, admin=admin, grpc=grpc))) == []


def test_two_listeners_cannot_have_one_address() -> None:
    path = Address(path="/run/a.sock")
    [(place, message)] = find_exposures(DaemonSettings(listen=path, admin=path))
    assert (place, message) == (
        ("admin",),
        "socket /run/a.sock is that of daemon.listen; give it another one",
    )
    [(place, message)] = find_exposures(DaemonSettings(grpc=Address("127.0.0.1", 8001)))
    assert (place, message[:34]) == (("grpc",), "port 8001 is that of daemon.admin;")


def test_grpc_takes_no_unix_socket() -> None:
    [(place, message)] = find_exposures(DaemonSettings(grpc=Address(path="/run/a.sock")))
    assert place == ("grpc",)
    assert "write 127.0.0.1:8002" in message


def test_quotas_need_to_know_who_calls() -> None:
    tenants = {"acme": TenantSettings()}
    assert list(find_exposures(DaemonSettings(tenants=tenants, auth=AUTH))) == []
    [(place, _)] = find_exposures(DaemonSettings(tenants=tenants, tls=MUTUAL_TLS))
    assert place == ("tenants",)


def test_refusal_names_file_and_line(write: Callable[[str], Path]) -> None:
    file = write(change("127.0.0.1:8001", "0.0.0.0:8001"))
    with pytest.raises(ConfigError, match=r"config.yaml:4:10: daemon.admin: '0.0.0.0:8001' can be"):
        load(file, {})
