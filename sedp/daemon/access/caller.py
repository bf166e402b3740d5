"""One who calls, and what he may do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Scope(enum.StrEnum):
    """What a caller may be allowed to do; a route asks for one of these, or for none."""

    INFER = "infer"
    UPDATE = "update"
    PUBLISH = "publish"
    ADMIN = "admin"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Caller:
    """One who was let in.

    Args:
        key_id: public part of the API key, or the certificate's name; "" when nobody asks.
        tenant: on whose account; "" when nobody asks.
        scopes: what is allowed.
    """

    key_id: str
    tenant: str
    scopes: frozenset[Scope]


ANYBODY = Caller("", "", frozenset(Scope))  # where no authentication is configured
