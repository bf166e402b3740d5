"""Every method over gRPC × every way to come without being allowed to: nobody gets in.

The twin of the matrix over HTTP. Who is not known gets UNAUTHENTICATED, who is known and may not,
PERMISSION_DENIED. Anything else was let in.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from grpc import StatusCode

from sedp.daemon.access.caller import ANYBODY, Scope
from sedp.daemon.access.guard import Guard, Rules
from sedp.daemon.access.key_file import read_key_file
from sedp.daemon.access.keys import KeyRing
from sedp.daemon.grpc import plane
from sedp.daemon.grpc.calls import Border

from .grpc_front import Front, serving
from .test_auth_matrix import Keys

OPEN = {"ServerLive", "ServerReady", "Check", "Watch"}
REFUSED = {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}
METHODS_MIN = 9
AT_ONCE = 32
ANSWER_S = 30.0  # a call that the machine held up is not one that got in

Metadata = tuple[tuple[str, str | bytes], ...]
Variant = Callable[[Mapping[str, str]], Metadata]


def bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


VARIANTS: dict[str, Variant] = {
    "none": lambda k: (),
    "wrong secret": lambda k: (bearer(k["wrong secret"]),),
    "expired": lambda k: (bearer(k["expired"]),),
    "revoked": lambda k: (bearer(k["revoked"]),),
    "other scope": lambda k: (bearer(k["other scope"]),),
    "other scope, x-api-key": lambda k: (("x-api-key", k["other scope"]),),
    "empty bearer": lambda k: (("authorization", "Bearer "),),
    "empty": lambda k: (("authorization", ""),),
    "no scheme": lambda k: (("authorization", k["good"]),),
    "basic": lambda k: (("authorization", f"Basic {base64_of(k['good'])}"),),
    "upper-case key": lambda k: (bearer(k["good"].upper()),),
    "two authorizations": lambda k: (bearer(k["good"]), bearer(k["good"])),
    "wrong, then good": lambda k: (bearer(k["revoked"]), bearer(k["good"])),
    "good, then wrong": lambda k: (bearer(k["good"]), bearer(k["revoked"])),
    "two headers": lambda k: (bearer(k["good"]), ("x-api-key", k["good"])),
    "two keys in one": lambda k: (bearer(f"{k['good']},{k['good']}"),),
    "empty x-api-key": lambda k: (("x-api-key", ""),),
    "bearer in x-api-key": lambda k: (("x-api-key", f"Bearer {k['good']}"),),
    "cookie": lambda k: (("cookie", f"authorization=Bearer {k['good']}"),),
    "proxy authorization": lambda k: (("proxy-authorization", f"Bearer {k['good']}"),),
    "binary metadata": lambda k: (("authorization-bin", f"Bearer {k['good']}".encode()),),
    "in another header": lambda k: (("authority", f"Bearer {k['good']}"),),
    "from a proxy": lambda k: (("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "::1")),
    "path in a header": lambda k: (("x-original-url", "/grpc.health.v1.Health/Check"),),
}


class Method(NamedTuple):
    """One that is guarded."""

    path: str
    keys: Mapping[str, str]


class Guarded(NamedTuple):
    """A plane with keys, and the methods of it with their scopes."""

    front: Front
    channel: grpc.aio.Channel
    methods: list[Method]


@pytest.fixture
async def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Guarded]:
    keys, scopes, handlers = Keys(tmp_path), dict[int, Scope | None](), dict[str, object]()
    methods_made = plane._Methods.__init__

    def note_handlers(self: object, made: dict[str, object]) -> None:
        handlers.update(made)
        methods_made(self, made)  # type: ignore[arg-type]

    monkeypatch.setattr(plane._Methods, "__init__", note_handlers)
    for kind in ("unary", "streaming"):
        monkeypatch.setattr(Border, kind, noting(getattr(Border, kind), scopes))
    guard = Guard(Rules(KeyRing(read_key_file(tmp_path / "keys.yaml")), {}, {}))
    async with serving(guard=guard) as (front, channel):
        is_open = {path for path, handler in handlers.items() if scopes[id(handler)] is None}
        assert {path.rpartition("/")[2] for path in is_open} == OPEN
        methods = [
            Method(path, keys.for_route(scope))
            for path, handler in handlers.items()
            if (scope := scopes[id(handler)]) is not None
        ]
        assert len(methods) >= METHODS_MIN
        yield Guarded(front, channel, methods)


def noting(make: Callable[..., object], scopes: dict[int, Scope | None]) -> Callable[..., object]:
    """The same, which puts down the scope of what it makes."""

    def note(self: Border, act: object, scope: Scope | None) -> object:
        handler = make(self, act, scope)
        scopes[id(handler)] = scope
        return handler

    return note


async def ask(channel: grpc.aio.Channel, path: str, metadata: Metadata) -> StatusCode:
    """How a call with one empty message ends."""
    pending = channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=ANSWER_S)
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for _ in pending:  # the status comes behind the messages
            pass
    return await pending.code()


async def find_admitted(guarded: Guarded) -> Counter[str]:
    """Variants that got in, with the number of methods that let them."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def attempt(name: str, method: Method) -> tuple[str, StatusCode]:
        async with limit:
            return name, await ask(guarded.channel, method.path, VARIANTS[name](method.keys))

    everything = [(name, method) for name in VARIANTS for method in guarded.methods]
    answers = await asyncio.gather(*(attempt(name, method) for name, method in everything))
    assert len(answers) >= 20 * len(guarded.methods)
    return Counter(name for name, code in answers if code not in REFUSED)


async def test_nobody_gets_in_without_being_allowed_to(guarded: Guarded) -> None:
    assert await find_admitted(guarded) == {}
    refused = guarded.front.plane.statistics().responses
    assert refused.keys() == {401, 403}
    assert sum(refused.values()) == len(VARIANTS) * len(guarded.methods)


async def test_the_matrix_sees_a_guard_that_lets_everybody_in(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: without it, the matrix might refuse for other reasons."""
    monkeypatch.setattr(Guard, "identify", lambda self, headers, peer: ANYBODY)
    assert (await find_admitted(guarded)) == dict.fromkeys(VARIANTS, len(guarded.methods))


async def test_the_matrix_sees_a_guard_that_forgets_scopes(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "require", lambda self, caller, scope: None)
    assert (await find_admitted(guarded)).keys() == {"other scope", "other scope, x-api-key"}


async def test_the_matrix_sees_a_method_that_asks_nobody(
    guarded: Guarded,
) -> None:
    """Health stands for one that was registered without a scope."""
    everybody = Method("/grpc.health.v1.Health/Check", guarded.methods[0].keys)
    admitted = await find_admitted(guarded._replace(methods=[*guarded.methods, everybody]))
    assert admitted == dict.fromkeys(VARIANTS, 1)


async def test_the_right_scope_gets_in(guarded: Guarded) -> None:
    for method in guarded.methods:
        good = method.keys["good"]
        for metadata in ((bearer(good),), (("x-api-key", good),)):
            assert await ask(guarded.channel, method.path, metadata) not in REFUSED, method.path
