"""Who calls, and what he may do: asked by every plane before anything else is done.

Three questions, in this order: who is it (401), may he do this (403), and has he used up what his
tenant may use (429)? Nothing that a caller learns here tells whether a key, a tenant or a path
exists. Where the config names no keys, everybody is let in at almost no cost.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from multidict import MultiMapping, istr

from sedp.daemon.access.caller import ANYBODY, Caller, Scope
from sedp.daemon.access.fair_share import FairShare
from sedp.daemon.access.peer import NOBODY, Peer
from sedp.daemon.access.quota import RETRY_NS, SECOND, UNLIMITED, Refused, TenantStatistics, Use
from sedp.daemon.access.rules import OPEN, Rules, read_rules
from sedp.daemon.access.shared_use import SharedUse
from sedp.daemon.failures import FailureLog
from sedp.errors import RequestError

__all__ = [
    "ANYBODY",
    "NOBODY",
    "OPEN",
    "Caller",
    "Guard",
    "GuardStatistics",
    "Lease",
    "Peer",
    "Rules",
    "Scope",
    "read_rules",
]

ABSENT: list[str] = []
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sedp"'}
# An operator's browser reaches loopback, too, on behalf of whatever page it shows.
FETCH_SITE = istr("sec-fetch-site")
FOREIGN_PAGES = frozenset({"cross-site", "same-site"})
CROWDED = Refused("share", "the pipeline is full; the tenant holds its share of it", RETRY_NS)
UNKNOWN = "no valid API key was sent; send one as Authorization: Bearer KEY"


@dataclass(frozen=True, slots=True)
class GuardStatistics:
    """Counts from the start.

    Args:
        unauthenticated: requests refused with 401.
        forbidden: requests refused with 403.
        tenants: by name; only of tenants that the key file names.
    """

    unauthenticated: int
    forbidden: int
    tenants: Mapping[str, TenantStatistics]


class Lease:
    """A request's place inside; given back once, at the end of a `with` block."""

    __slots__ = ("_share", "_tenant", "_use")

    def __init__(self, use: Use | None, share: FairShare | None, tenant: str) -> None:
        self._use = use
        self._share = share
        self._tenant = tenant

    def charge(self, body_bytes: int, now_ns: int) -> None:
        """Count bytes that were not known when the request was let in."""
        if self._use is not None:
            self._use.charge(body_bytes, now_ns)

    def give_back(self) -> None:
        if self._use is not None:
            self._use.leave()
            if self._share is not None:
                self._share.leave(self._tenant)
            self._use = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()


_FREE = Lease(None, None, "")  # of a caller without a tenant: nothing is counted


class Guard:
    """Lets callers in; one for all planes of a process.

    Args:
        rules: replaced as a whole at a reload.
        log: for refused callers.
        shared: with the other workers of the daemon, if there are any.
        now_s: Unix time, for keys that expire.
        dice: in [0, 1), to spread retries.
    """

    def __init__(
        self,
        rules: Rules = OPEN,
        *,
        log: FailureLog | None = None,
        shared: SharedUse | None = None,
        now_s: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.unauthenticated = 0
        self.forbidden = 0
        self._log = log
        self._shared = shared
        self._now_s = now_s
        self._dice = dice
        self._trusted_uids = {0, os.geteuid()}
        self._uses: dict[str, Use] = {}
        self._shares: dict[str, FairShare] = {}
        self._rules = OPEN
        self.replace(rules)

    @property
    def rules(self) -> Rules:
        return self._rules

    def replace(self, rules: Rules) -> None:
        """Go by other rules from now on; what tenants have used stays counted."""
        names = rules.tenant_names()
        uses = {name: self._uses.get(name) or self._new_use(name) for name in names}
        for name, use in uses.items():
            use.limit(rules.tenants.get(name, UNLIMITED))
        shares = {}
        for name, in_flight_max in rules.pipelines.items() if len(names) > 1 else ():
            shares[name] = self._shares.get(name) or FairShare(in_flight_max)
            shares[name].in_flight_max = in_flight_max
        self._rules, self._uses, self._shares = rules, uses, shares

    def identify(self, headers: Mapping[str, str], peer: Peer) -> Caller:
        """Who calls, by API key, else by client certificate, else by the user of a Unix socket.

        Args:
            headers: found without regard to case, or all lower-case (gRPC's metadata).

        Raises:
            RequestError: 401; 403 for a web page of another site, where no keys are configured.
        """
        keys = self._rules.keys
        if keys is None:
            if headers.get(FETCH_SITE) in FOREIGN_PAGES:
                self.forbidden += 1
                raise RequestError("web pages of other sites may not call; configure keys", 403)
            return self._identify_peer(peer)
        key = _key_in(headers)
        if key is None:
            caller = keys.find_certified(peer.names)
            return caller or self._refuse("neither key nor known certificate was shown")
        found = keys.find(key, self._now_s())
        return self._refuse(found) if isinstance(found, str) else found

    def require(self, caller: Caller, scope: Scope) -> None:
        """Refuse a caller who may not do this.

        Raises:
            RequestError: 403.
        """
        if scope not in caller.scopes:
            self.forbidden += 1
            text = f"this needs the scope {scope.value!r}, which the key or certificate has not"
            raise RequestError(text, 403)

    def admit(self, caller: Caller, pipeline: str, body_bytes: int, now_ns: int) -> Lease:
        """A place inside for one request, to be given back.

        Args:
            body_bytes: as far as known; `Lease.charge` adds what comes beyond.
            now_ns: on the monotonic clock.

        Raises:
            RequestError: 429, the tenant's quota or its share of a crowded pipeline is used.
        """
        use = self._uses.get(caller.tenant)
        if use is None:
            return _FREE
        share = self._shares.get(pipeline)
        refused = use.why_not(now_ns)
        if refused is None and share and not share.enter(caller.tenant, use.limits.weight, now_ns):
            refused = CROWDED
        if refused is not None:
            use.refused[refused.reason] += 1
            raise RequestError(refused.text, 429, {"Retry-After": self._spread(refused.wait_ns)})
        use.enter(body_bytes, now_ns)
        return Lease(use, share, caller.tenant)

    def statistics(self) -> GuardStatistics:
        tenants = {name: use.statistics() for name, use in sorted(self._uses.items())}
        return GuardStatistics(self.unauthenticated, self.forbidden, tenants)

    def _new_use(self, tenant: str) -> Use:
        return Use(place=self._shared.place(tenant) if self._shared else None)

    def _identify_peer(self, peer: Peer) -> Caller:
        """Without keys, who can reach a TCP socket may call; a Unix socket has its owner's door."""
        if peer.names:
            return Caller(peer.names[0], "", ANYBODY.scopes)
        if peer.uid is None or peer.uid in self._trusted_uids:
            return ANYBODY
        return self._refuse(f"user {peer.uid} is not that of the daemon")

    def _refuse(self, reason: str) -> NoReturn:
        self.unauthenticated += 1
        if self._log is not None:
            self._log.write(f"a caller was refused: {reason}")
        raise RequestError(UNKNOWN, 401, CHALLENGE)

    def _spread(self, wait_ns: int) -> str:
        """Whole seconds for Retry-After, up to twice the wait: not all must come back at once."""
        return str(math.ceil(wait_ns * (1 + self._dice()) / SECOND))


def _key_in(headers: Mapping[str, str]) -> str | None:
    """The one key that was sent, `None` for none; what is no single key finds no caller either."""
    named: Sequence[str]
    plain: Sequence[str]
    if isinstance(headers, MultiMapping):
        named = headers.getall("authorization", ABSENT)
        plain = headers.getall("x-api-key", ABSENT)
    else:
        named = [headers["authorization"]] if "authorization" in headers else []
        plain = [headers["x-api-key"]] if "x-api-key" in headers else []
    if not named and not plain:
        return None
    if len(named) + len(plain) > 1:
        return ""
    if plain:
        return plain[0]
    scheme, _, key = named[0].partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
