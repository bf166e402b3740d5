"""Every route of both planes × every way to come without being allowed to: nobody gets in.

Requests are written byte by byte, as no client would send most of them. Who is not known gets 401,
or 400 where it is no HTTP; who is known and may not, 403. Anything else was let in.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sedp.config.security_settings import AuthSettings
from sedp.daemon.access.caller import ANYBODY, Scope
from sedp.daemon.access.guard import Guard
from sedp.daemon.access.key_file import KeyEntry, KeyFile, edit_key_file
from sedp.daemon.access.keys import make_key
from sedp.daemon.daemon import Daemon
from sedp.daemon.http.dispatch import Dispatcher
from sedp.daemon.http.path_table import NAME

from .conftest import StartDaemon

OPEN = {
    "data": {"/v2/health/live", "/v2/health/ready"},
    "admin": {"/healthz", "/v2/health/live", "/v2/health/ready"},
}
REFUSED = {400, 401, 403}
NO_HTTP = {"folded header", "space before the colon", "in the body"}
AT_ONCE = 32


class Target(NamedTuple):
    """One route; `keys`: by what they are good for, as seen from here."""

    address: str
    method: str
    path: str
    keys: dict[str, str]


class Keys:
    """A key file with a key of each kind, and keys that once were in it."""

    def __init__(self, folder: Path) -> None:
        self.revoked = make_key()[1]
        entries: dict[str, KeyEntry] = {}

        def add(scopes: tuple[Scope, ...], expires: int | None = None) -> str:
            id_, key, sha256 = make_key()
            entries[id_] = KeyEntry(sha256=sha256, tenant="acme", scopes=scopes, expires=expires)
            return key

        everything = tuple(Scope)
        self.good = add(everything)
        self.expired = add(everything, expires=1_000)
        self.all_but = {
            scope: add(tuple(other for other in Scope if other != scope)) for scope in Scope
        }
        edit_key_file(folder / "keys.yaml", lambda _: KeyFile(keys=entries))

    def for_route(self, scope: Scope) -> dict[str, str]:
        return {
            "good": self.good,
            "expired": self.expired,
            "revoked": self.revoked,
            "other scope": self.all_but[scope],
            "wrong secret": self.good[:-8] + "00000000",
        }


def request(target: Target, *headers: str, method: str = "", path: str = "") -> bytes:
    lines = (
        f"{method or target.method} {path or target.path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        *([] if target.method == "GET" else ["Content-Length: 0"]),
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


def upper(path: str) -> str:
    return path.upper() if path != "/" else "/INDEX.HTML"


Variant = Callable[[Target], bytes]
CREDENTIALS: dict[str, Variant] = {
    "none": lambda t: request(t),
    "wrong secret": lambda t: request(t, bearer(t.keys["wrong secret"])),
    "expired": lambda t: request(t, bearer(t.keys["expired"])),
    "revoked": lambda t: request(t, bearer(t.keys["revoked"])),
    "other scope": lambda t: request(t, bearer(t.keys["other scope"])),
    "other scope, x-api-key": lambda t: request(t, f"X-API-Key: {t.keys['other scope']}"),
    "empty bearer": lambda t: request(t, "Authorization: Bearer "),
    "no scheme": lambda t: request(t, f"Authorization: {t.keys['good']}"),
    "basic": lambda t: request(
        t, f"Authorization: Basic {base64.b64encode(t.keys['good'].encode()).decode()}"
    ),
    "upper-case key": lambda t: request(t, bearer(t.keys["good"].upper())),
    "two authorizations": lambda t: request(t, bearer(t.keys["good"]), bearer(t.keys["good"])),
    "wrong, then good": lambda t: request(t, bearer(t.keys["revoked"]), bearer(t.keys["good"])),
    "two headers": lambda t: request(t, bearer(t.keys["good"]), f"X-API-Key: {t.keys['good']}"),
    "two keys in one": lambda t: request(t, bearer(f"{t.keys['good']},{t.keys['good']}")),
    "empty x-api-key": lambda t: request(t, "X-API-Key:"),
    "bearer in x-api-key": lambda t: request(t, f"X-API-Key: Bearer {t.keys['good']}"),
    "cookie": lambda t: request(t, f"Cookie: Authorization=Bearer {t.keys['good']}"),
    "proxy authorization": lambda t: request(t, f"Proxy-Authorization: Bearer {t.keys['good']}"),
    "in the query": lambda t: request(t, path=f"{t.path}?api_key={t.keys['good']}"),
    "folded header": lambda t: request(t, "Authorization: Bearer", f" {t.keys['good']}"),
    "space before the colon": lambda t: request(t, f"Authorization : Bearer {t.keys['good']}"),
    "in the body": lambda t: request(t, f"\r\n{bearer(t.keys['good'])}"),
}
FORMS: dict[str, Variant] = {
    "upper-case path": lambda t: request(t, path=upper(t.path)),
    "trailing slash": lambda t: request(t, path=f"{t.path}/"),
    "encoded slash": lambda t: request(t, path="/" + t.path[1:].replace("/", "%2f") + "%2F"),
    "encoded letter": lambda t: request(t, path=t.path.replace("v", "%76").replace("m", "%6D")),
    "double encoding": lambda t: request(
        t, path=t.path.replace("/", "%252f").replace("%", "/%", 1)
    ),
    "double slash": lambda t: request(t, path=f"/{t.path}"),
    "dot": lambda t: request(t, path=f"/.{t.path}"),
    "through an open route": lambda t: request(t, path=f"/v2/health/live/../../..{t.path}"),
    "matrix parameter": lambda t: request(t, path=f"{t.path};/v2/health/live"),
    "backslash": lambda t: request(t, path="/" + t.path[1:].replace("/", "\\")),
    "zero byte": lambda t: request(t, path=f"{t.path}%00"),
    "query": lambda t: request(t, path=f"{t.path}?/v2/health/live"),
    "fragment": lambda t: request(t, path=f"{t.path}#/v2/health/live"),
    "absolute form": lambda t: request(t, path=f"http://localhost{t.path}"),
    "absolute form, user": lambda t: request(t, path=f"http://{t.keys['good']}@localhost{t.path}"),
    "head": lambda t: request(t, method="HEAD"),
    "options": lambda t: request(t, method="OPTIONS"),
    "trace": lambda t: request(t, method="TRACE"),
    "put": lambda t: request(t, method="PUT"),
    "unknown method": lambda t: request(t, method="BREW"),
    "lower-case method": lambda t: request(t, method=t.method.lower()),
    "method in a header": lambda t: request(t, f"X-HTTP-Method-Override: {t.method}", method="GET"),
    "path in a header": lambda t: request(t, "X-Original-URL: /v2/health/live"),
    "from a proxy": lambda t: request(t, "X-Forwarded-For: 127.0.0.1", "X-Real-IP: ::1"),
    "http/1.0": lambda t: request(t).replace(b"HTTP/1.1", b"HTTP/1.0"),
}
VARIANTS = CREDENTIALS | FORMS


class Guarded(NamedTuple):
    """A daemon with keys, and the dispatchers in it."""

    daemon: Daemon
    keys: Keys
    dispatchers: list[Dispatcher]

    def targets(self) -> list[Target]:
        """Every guarded route, with names filled in."""
        found = []
        for dispatcher in self.dispatchers:
            plane = "admin" if "/healthz" in dispatcher.routes else "data"
            address = getattr(self.daemon, f"{plane}_address")
            for shown in dispatcher.routes:
                path = shown.replace(NAME, "double")
                for method, route in dispatcher.routes[path].items():
                    if route.scope is None:
                        assert path in OPEN[plane]
                        continue
                    keys = self.keys.for_route(route.scope)
                    found.append(Target(address, method, path, keys))
        assert len({target.address for target in found}) == 2
        return found


async def ask(address: str, sent: bytes) -> int:
    """The status that comes back; 400 for a connection that is closed without one."""
    reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    try:
        writer.write(sent)
        head = await reader.readline()
        await reader.read()
    except ConnectionResetError:
        return 400
    finally:
        writer.close()
    status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    return int(status[1]) if status else 400


async def find_admitted(guarded: Guarded) -> Counter[str]:
    """Variants that got in, with the number of routes that let them."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def attempt(name: str, target: Target) -> tuple[str, int]:
        async with limit:
            return name, await ask(target.address, VARIANTS[name](target))

    targets = guarded.targets()
    everything = [(name, target) for name in VARIANTS for target in targets]
    answers = await asyncio.gather(*(attempt(name, target) for name, target in everything))
    assert len(answers) >= 20 * len(targets)
    return Counter(name for name, status in answers if status not in REFUSED)


@pytest.fixture
async def guarded(
    start_daemon: StartDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Guarded:
    keys, dispatchers = Keys(tmp_path), list[Dispatcher]()
    make = Dispatcher.__init__

    def make_known(self: Dispatcher, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        dispatchers.append(self)

    monkeypatch.setattr(Dispatcher, "__init__", make_known)
    return Guarded(await start_daemon(auth=AuthSettings(keys="keys.yaml")), keys, dispatchers)


async def test_nobody_gets_in_without_being_allowed_to(guarded: Guarded) -> None:
    assert await find_admitted(guarded) == {}
    assert guarded.daemon.server.guard.statistics().unauthenticated > 1_000


async def test_the_matrix_sees_a_guard_that_lets_everybody_in(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: without it, the matrix might refuse for other reasons."""
    monkeypatch.setattr(Guard, "identify", lambda self, headers, peer: ANYBODY)
    admitted = await find_admitted(guarded)
    assert admitted.keys() > CREDENTIALS.keys() - NO_HTTP


async def test_the_matrix_sees_a_guard_that_forgets_scopes(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "require", lambda self, caller, scope: None)
    assert (await find_admitted(guarded)).keys() == {"other scope", "other scope, x-api-key"}


async def test_the_right_scope_gets_in(guarded: Guarded) -> None:
    """All routes but those that change the daemon under the test."""
    for target in guarded.targets():
        if target.method == "GET" or target.path.endswith(("/infer", "/index")):
            for header in (bearer(target.keys["good"]), f"X-API-Key: {target.keys['good']}"):
                status = await ask(target.address, request(target, header))
                assert status not in {401, 403}, target.path


@pytest.mark.parametrize("plane", ["data", "admin"])
async def test_only_health_is_open_to_everybody(plane: str, guarded: Guarded) -> None:
    address = getattr(guarded.daemon, f"{plane}_address")
    for path in OPEN[plane]:
        assert await ask(address, request(Target(address, "GET", path, {}))) == 200


async def test_a_refused_caller_learns_nothing_of_what_there_is(guarded: Guarded) -> None:
    bodies = set()
    for path in ("/v2/models/double", "/v2/models/none", "/nothing"):
        reader, writer = await asyncio.open_connection(*guarded.daemon.data_address.rsplit(":", 1))
        writer.write(request(Target("", "GET", path, {})))
        answer = await reader.read()
        writer.close()
        assert b"\r\nWWW-Authenticate: Bearer" in answer
        bodies.add(answer.partition(b"\r\n\r\n")[2])
    assert bodies == {
        b'{"error":"no valid API key was sent; send one as Authorization: Bearer KEY"}'
    }
