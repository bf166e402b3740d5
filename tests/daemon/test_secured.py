"""A daemon with keys, TLS, quotas and an audit log, set up and changed as operators do it."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from click.testing import CliRunner

from sedp.cli.main import group
from sedp.config.loading import load
from sedp.daemon.access.audit_chain import split_lines, verify
from sedp.daemon.daemon import Daemon

CONFIG = """\
api_version: sedp/v1
daemon:
  listen: 0.0.0.0:0
  admin: localhost:0
  workers: 1
  tls: {certificate: server.pem, key: server.key}
  auth: {keys: keys.yaml}
  tenants: {acme: {requests_per_second: 0.1}}
  audit_log: audit.log
pipelines:
  rank:
    inputs: {score: "FP32[n]"}
    outputs: {best: "INT32[2]"}
    stages: {top: {kind: top_k, params: {k: 2, output: best}}}
"""
SCORES = {"inputs": [{"name": "score", "shape": [3], "datatype": "FP32", "data": [1, 3, 2]}]}
CA = trustme.CA()


class Site:
    """The operator's folder, the daemon in it, and a caller who trusts its certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context = ssl.create_default_context()
        CA.configure_trust(self.context)
        self.http = aiohttp.ClientSession()
        self.daemon: Daemon

    def sedp(self, *arguments: str) -> str:
        command = [arguments[0], arguments[1], str(self.folder / arguments[2]), *arguments[3:]]
        result = CliRunner().invoke(group, command, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout.strip()

    async def call(
        self, plane: str, path: str, key: str = "", body: object = None
    ) -> tuple[int, Any, Any]:
        port = getattr(self.daemon, f"{plane}_address").rpartition(":")[2]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self.http.request(
            "GET" if body is None else "POST",
            f"https://localhost:{port}{path}",
            ssl=self.context,
            headers=headers,
            data=None if body is None else json.dumps(body),
        ) as response:
            return response.status, await response.json(), response.headers

    async def infer(self, key: str) -> int:
        return (await self.call("data", "/v2/models/rank/infer", key, SCORES))[0]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    certificate = CA.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    (tmp_path / "c.yaml").write_text(CONFIG)
    site = Site(tmp_path)
    try:
        site.sedp("keys", "create", "keys.yaml", "--tenant", "ops", "--scope", "admin")
        site.daemon = await Daemon.start(load(tmp_path / "c.yaml", {}))
        yield site
        await site.daemon.stop()
    finally:
        await site.http.close()


async def test_keys_are_made_used_replaced_and_revoked_without_a_restart(site: Site) -> None:
    def create(tenant: str, scope: str) -> str:
        return site.sedp("keys", "create", "keys.yaml", "--tenant", tenant, "--scope", scope)

    first, admin = create("zeta", "infer"), create("ops", "admin")
    assert await site.infer(first) == 401
    await site.daemon.reload()
    assert await site.infer(first) == 200
    second = create("zeta", "infer")
    status, _, _ = await site.call("admin", "/admin/reload", admin, {})
    assert (status, await site.infer(first), await site.infer(second)) == (200, 200, 200)
    site.sedp("keys", "revoke", "keys.yaml", first.split("_")[1])
    await site.call("admin", "/admin/reload", admin, {})
    assert (await site.infer(first), await site.infer(second)) == (401, 200)
    assert (await site.call("admin", "/admin/reload", second, {}))[0] == 403


async def test_a_broken_key_file_leaves_the_old_keys_in_force(site: Site) -> None:
    admin = site.sedp("keys", "create", "keys.yaml", "--tenant", "ops", "--scope", "admin")
    await site.daemon.reload()
    keys = site.folder / "keys.yaml"
    whole = keys.read_text()
    keys.write_text(whole + "oops: 1\n")
    status, body, _ = await site.call("admin", "/admin/reload", admin, {})
    assert status == 400
    assert "oops: unknown key" in body["error"]
    keys.write_text(whole)
    assert (await site.call("admin", "/admin/reload", admin, {}))[0] == 200


async def test_a_tenant_over_its_quota_is_told_when_to_come_back_and_others_are_not(
    site: Site,
) -> None:
    acme, zeta = (
        site.sedp("keys", "create", "keys.yaml", "--tenant", name, "--scope", "infer")
        for name in ("acme", "zeta")
    )
    await site.daemon.reload()
    answers = [await site.call("data", "/v2/models/rank/infer", acme, SCORES) for _ in range(20)]
    refused = [answer for answer in answers if answer[0] == 429]
    assert {answer[0] for answer in answers} == {200, 429}
    assert all(1 <= int(headers["Retry-After"]) <= 20 for _, _, headers in refused)
    assert refused[0][1] == {"error": "the tenant's quota of 0.1 requests a second is used"}
    assert [await site.infer(zeta) for _ in range(20)] == [200] * 20


async def test_metrics_tell_who_was_turned_away(site: Site) -> None:
    acme = site.sedp("keys", "create", "keys.yaml", "--tenant", "acme", "--scope", "infer")
    viewer = site.sedp("keys", "create", "keys.yaml", "--tenant", "ops", "--scope", "metrics")
    await site.daemon.reload()
    statuses = [await site.infer(key) for key in (acme, acme, viewer, "sedp_0_0")]
    assert statuses == [200, 429, 403, 401]
    port = site.daemon.admin_address.rpartition(":")[2]
    async with site.http.get(
        f"https://localhost:{port}/metrics",
        ssl=site.context,
        headers={"Authorization": f"Bearer {viewer}"},
    ) as response:
        lines = (await response.text()).splitlines()
    for line in (
        "sedp_unauthenticated_total 1.0",
        "sedp_forbidden_total 1.0",
        'sedp_tenant_requests_total{tenant="acme"} 1.0',
        'sedp_tenant_refused_total{reason="requests",tenant="acme"} 1.0',
    ):
        assert line in lines


async def test_admin_calls_are_in_the_audit_log_with_their_callers(site: Site) -> None:
    admin = site.sedp("keys", "create", "keys.yaml", "--tenant", "ops", "--scope", "admin")
    await site.daemon.reload()
    await site.call("admin", "/admin/reload", admin, {})
    (site.folder / "keys.yaml").chmod(0o644)
    await site.call("admin", "/admin/reload", admin, {})
    log = (site.folder / "audit.log").read_bytes()
    records = [json.loads(line) for line in log.splitlines()]
    assert [(record["caller"], record["outcome"][:6]) for record in records] == [
        ("", "begun"),
        ("", "done"),
        (admin.split("_")[1], "begun"),
        (admin.split("_")[1], "done"),
        (admin.split("_")[1], "begun"),
        (admin.split("_")[1], "failed"),
    ]
    assert admin.split("_")[2].encode() not in log
    with (site.folder / "audit.log").open("rb") as stream:
        assert verify(split_lines(stream)).records == 6


async def test_a_new_certificate_is_shown_after_a_reload(site: Site) -> None:
    other = trustme.CA()
    certificate = other.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(site.folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(site.folder / "server.pem")
    assert (await site.call("data", "/v2/health/live"))[0] == 200
    await site.daemon.reload()
    await site.http.close()
    site.http = aiohttp.ClientSession()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await site.call("data", "/v2/health/live")
    other.configure_trust(site.context)
    assert (await site.call("data", "/v2/health/live"))[0] == 200
