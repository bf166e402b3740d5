"""Who is let in: what the guard says to headers, certificates, users and quotas."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from multidict import CIMultiDict

from sedp.config.security_settings import TenantSettings
from sedp.daemon.access.guard import (
    ANYBODY,
    CHALLENGE,
    NOBODY,
    UNKNOWN,
    Caller,
    Guard,
    Peer,
    Rules,
    Scope,
)
from sedp.daemon.access.key_file import CertificateEntry, KeyEntry, KeyFile
from sedp.daemon.access.keys import KeyRing, make_key
from sedp.daemon.access.peer import certificate_names
from sedp.daemon.failures import FailureLog
from sedp.errors import RequestError

NOW_S = 1_000_000.0
NOW_NS = 5_000_000_000
ID, KEY, SHA256 = make_key()
OTHER_ID, _, OTHER_SHA256 = make_key()
OLD_ID, OLD_KEY, OLD_SHA256 = make_key()
REVOKED_KEY = make_key()[1]
INFER = (Scope.INFER,)
FILE = KeyFile(
    keys={
        ID: KeyEntry(sha256=SHA256, tenant="acme", scopes=INFER),
        OTHER_ID: KeyEntry(sha256=OTHER_SHA256, tenant="zeta", scopes=(Scope.METRICS,)),
        OLD_ID: KeyEntry(sha256=OLD_SHA256, tenant="acme", scopes=INFER, expires=999_999),
    },
    certificates={"ranker": CertificateEntry(tenant="acme", scopes=INFER)},
)
ACME = Caller(ID, "acme", frozenset(INFER))


def guard(
    tenants: Mapping[str, TenantSettings] | None = None, log: FailureLog | None = None
) -> Guard:
    rules = Rules(KeyRing(FILE), tenants or {}, {"rank": 8})
    return Guard(rules, log=log, now_s=lambda: NOW_S, dice=lambda: 0.5)


def bearer(key: str) -> CIMultiDict[str]:
    return CIMultiDict({"Authorization": f"Bearer {key}"})


def test_where_no_keys_are_configured_everybody_may_do_everything() -> None:
    caller = Guard().identify(bearer("whatever"), NOBODY)
    assert caller is ANYBODY
    for scope in Scope:
        Guard().require(caller, scope)
    with Guard().admit(caller, "rank", 1 << 40, NOW_NS) as lease:
        lease.charge(1 << 40, NOW_NS)


@pytest.mark.parametrize(
    "headers",
    [
        bearer(KEY),
        CIMultiDict({"AUTHORIZATION": f"bearer   {KEY} "}),
        CIMultiDict({"x-api-key": KEY}),
        {"authorization": f"Bearer {KEY}"},
        {"x-api-key": KEY},
    ],
)
def test_a_key_is_found_in_either_header_in_any_case(headers: Mapping[str, str]) -> None:
    assert guard().identify(headers, NOBODY) == ACME


WRONG: dict[str, Mapping[str, str]] = {
    "nothing": {},
    "empty": {"authorization": ""},
    "scheme alone": {"authorization": "Bearer"},
    "empty bearer": {"authorization": "Bearer "},
    "no scheme": {"authorization": KEY},
    "basic": {"authorization": f"Basic {KEY}"},
    "unknown": bearer(REVOKED_KEY),
    "expired": bearer(OLD_KEY),
    "wrong secret": bearer(KEY[:-4] + "0000"),
    "upper case": bearer(KEY.upper()),
    "twice": CIMultiDict([("Authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")]),
    "wrong and right": CIMultiDict([("Authorization", "Bearer x"), ("x-api-key", KEY)]),
    "both headers": {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
    "bearer in x-api-key": {"x-api-key": f"Bearer {KEY}"},
    "two in one": bearer(f"{KEY}, Bearer {KEY}"),
    "list": {"x-api-key": f"{KEY},{KEY}"},
    "long": bearer(KEY + "0" * 10_000),
    "cookie": {"cookie": f"authorization=Bearer {KEY}"},
    "not ascii": {"authorization": f"Bearer\u00a0{KEY}"},
    "other digits": bearer(KEY[:-1] + "１"),
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=list(WRONG))
def test_everything_else_gets_the_same_401(headers: Mapping[str, str]) -> None:
    asked = guard()
    with pytest.raises(RequestError) as refused:
        asked.identify(headers, NOBODY)
    assert (refused.value.status, str(refused.value)) == (401, UNKNOWN)
    assert refused.value.headers == CHALLENGE
    assert asked.statistics().unauthenticated == 1


@pytest.mark.parametrize("name", [name for name in WRONG if name != "nothing" and name != "cookie"])
def test_a_wrong_key_is_not_mended_by_a_certificate(name: str) -> None:
    with pytest.raises(RequestError, match=UNKNOWN):
        guard().identify(WRONG[name], Peer(("ranker",)))


def test_a_certificate_is_as_good_as_a_key() -> None:
    caller = guard().identify({}, Peer(("unknown", "ranker")))
    assert caller == Caller("ranker", "acme", frozenset(INFER))
    with pytest.raises(RequestError, match=UNKNOWN):
        guard().identify({}, Peer(("unknown",)))


def test_a_certificate_without_a_key_file_may_do_everything_under_its_name() -> None:
    assert Guard().identify({}, Peer(("ranker",))) == Caller("ranker", "", frozenset(Scope))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
def test_pages_of_other_sites_in_an_operators_browser_are_refused(site: str) -> None:
    headers = CIMultiDict({"Sec-Fetch-Site": site})
    if site in ("same-origin", "none"):
        assert Guard().identify(headers, NOBODY) is ANYBODY
        return
    with pytest.raises(RequestError, match="web pages") as refused:
        Guard().identify(headers, NOBODY)
    assert refused.value.status == 403
    headers["Authorization"] = f"Bearer {KEY}"
    assert guard().identify(headers, NOBODY) == ACME


def test_a_unix_socket_is_for_its_own_user_and_root_unless_keys_decide() -> None:
    own = os.geteuid()
    assert Guard().identify({}, Peer(uid=own)) is ANYBODY
    assert Guard().identify({}, Peer(uid=0)) is ANYBODY
    with pytest.raises(RequestError, match=UNKNOWN):
        Guard().identify({}, Peer(uid=own + 1))
    with pytest.raises(RequestError, match=UNKNOWN):
        guard().identify({}, Peer(uid=own))
    assert guard().identify(bearer(KEY), Peer(uid=own + 1)) == ACME


@pytest.mark.parametrize("scope", list(Scope))
def test_a_caller_may_do_what_his_scopes_say_and_no_more(scope: Scope) -> None:
    asked = guard()
    if scope is Scope.INFER:
        asked.require(ACME, scope)
        return
    with pytest.raises(RequestError, match=f"scope '{scope}'") as refused:
        asked.require(ACME, scope)
    assert refused.value.status == 403
    assert asked.statistics().forbidden == 1


def test_refused_callers_are_logged_with_the_reason_and_without_the_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = FailureLog(logging.getLogger("test"), lambda: NOW_NS)
    asked = guard(log=log)
    for headers in WRONG.values():
        with pytest.raises(RequestError):
            asked.identify(headers, NOBODY)
    assert f"key {OLD_ID} expired at 1970-01-12T13:46:39Z" in caplog.text
    assert KEY.split("_")[2][:-4] not in caplog.text
    for _ in range(1000):
        with pytest.raises(RequestError):
            asked.identify({}, NOBODY)
    assert len(caplog.records) == 10  # the ration, and time stands still
    assert asked.unauthenticated == len(WRONG) + 1000


def test_over_its_quota_a_tenant_gets_429_and_when_to_come_back() -> None:
    asked = guard({"acme": TenantSettings(requests_per_second=0.1)})
    asked.admit(ACME, "rank", 0, NOW_NS).give_back()
    with pytest.raises(RequestError, match=r"0\.1 requests a second") as refused:
        asked.admit(ACME, "rank", 0, NOW_NS + 4 * 10**9)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "9"})
    asked.admit(ACME, "rank", 0, NOW_NS + 10 * 10**9).give_back()


def test_waits_are_spread_from_one_to_two_times() -> None:
    waits = set()
    for dice in (0.0, 0.25, 0.5, 0.75, 0.999):
        rules = Rules(KeyRing(FILE), {"acme": TenantSettings(requests_per_second=0.01)}, {})
        asked = Guard(rules, dice=lambda dice=dice: dice)  # type: ignore[misc]
        asked.admit(ACME, "rank", 0, NOW_NS)
        with pytest.raises(RequestError) as refused:
            asked.admit(ACME, "rank", 0, NOW_NS)
        waits.add(int(refused.value.headers["Retry-After"]))
    assert waits == {100, 125, 150, 175, 200}


def test_a_lease_is_given_back_once_however_the_block_ends() -> None:
    asked = guard({"acme": TenantSettings(in_flight_max=1)})
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), asked.admit(ACME, "rank", 7, NOW_NS) as lease:
            assert asked.statistics().tenants["acme"].in_flight == 1
            lease.give_back()
            raise ZeroDivisionError
        assert asked.statistics().tenants["acme"].in_flight == 0
    use = asked.statistics().tenants["acme"]
    assert (use.requests, use.body_bytes, use.refused) == (3, 21, {})


def test_counters_are_of_the_tenants_in_the_key_file_only() -> None:
    asked = guard({"unheard": TenantSettings()})
    asked.admit(Caller("x", "stranger", frozenset()), "rank", 1, NOW_NS)
    assert asked.statistics().tenants.keys() == {"acme", "zeta"}


def test_new_rules_hold_at_once_and_what_was_used_stays_used() -> None:
    asked = guard({"acme": TenantSettings(in_flight_max=2)})
    held = asked.admit(ACME, "rank", 1, NOW_NS)
    only_zeta = KeyFile(keys={OTHER_ID: FILE.keys[OTHER_ID]})
    asked.replace(Rules(KeyRing(FILE), {"acme": TenantSettings(in_flight_max=1)}, {"rank": 8}))
    with pytest.raises(RequestError, match="1 requests inside"):
        asked.admit(ACME, "rank", 1, NOW_NS)
    asked.replace(Rules(KeyRing(only_zeta), {}, {}))
    with pytest.raises(RequestError, match=UNKNOWN):
        asked.identify(bearer(KEY), NOBODY)
    assert asked.statistics().tenants.keys() == {"zeta"}
    held.give_back()


def test_a_crowded_pipeline_is_shared_between_tenants() -> None:
    asked = guard()
    zeta = Caller(OTHER_ID, "zeta", frozenset())
    with asked.admit(zeta, "rank", 0, NOW_NS):
        for _ in range(4):
            asked.admit(ACME, "rank", 0, NOW_NS)
        with pytest.raises(RequestError, match="holds its share") as refused:
            asked.admit(ACME, "rank", 0, NOW_NS)
        assert refused.value.status == 429
        asked.admit(ACME, "another", 0, NOW_NS)
        for _ in range(3):
            asked.admit(zeta, "rank", 0, NOW_NS).give_back()
    assert asked.statistics().tenants["acme"].refused == {"share": 1}
    assert asked._shares["rank"].held == {"acme": 4}


def test_names_of_a_certificate_are_its_alternatives_then_its_common_name() -> None:
    shown = {
        "subject": ((("organizationName", "acme"),), (("commonName", "ranker"),)),
        "subjectAltName": (
            ("DNS", "a.example"),
            ("IP Address", "10.0.0.1"),
            ("URI", "spiffe://acme/ranker"),
            ("email", "x@example"),
        ),
    }
    assert certificate_names(shown) == ("a.example", "spiffe://acme/ranker", "ranker")
    assert certificate_names({}) == ()


async def test_the_user_behind_a_unix_socket_is_known_from_the_kernel(tmp_path: Path) -> None:
    peers: list[Peer] = []

    class Listen(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            peers.append(Peer.of(transport))
            transport.close()

    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(Listen, tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    async with await loop.create_server(Listen, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert peers == [Peer((), os.getuid()), NOBODY]
    assert Peer.of(None) is NOBODY
    assert socket.SO_PEERCRED
