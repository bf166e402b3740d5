"""How a request stands among others: its level, its user, its tenant, and when it is due.

When not all can be answered, those of the lowest level are refused first, and within a level those
of the same users for an hour: a page that needs several answers then gets all or none of them,
which refusing by chance would not do (DAGOR, WeChat 2018). Every hour other users come first.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from sedp.columns import Array
from sedp.daemon.oip.request import InferenceRequest
from sedp.engine.events import NEVER_NS
from sedp.pipeline import Pipeline

USERS = 128  # 0 stands for those who are not known
HOUR_NS = 3_600_000_000_000


class Standing(NamedTuple):
    """What the engine is told of a request besides its columns.

    Args:
        due_ns: when the target is used up, on the monotonic clock; never without one.
        level: 1 is the highest.
        user: 1 to 127, a hash; 0 for nobody.
        tenant: number of the tenant; 0 where nobody asks.
    """

    due_ns: int
    level: int
    user: int
    tenant: int


class Standings:
    """Of one pipeline's requests.

    Args:
        user: input that says whose request it is; "" when none does.
        tenants: their numbers so far; newcomers are put down in it.
    """

    def __init__(
        self, pipeline: Pipeline, user: str, tenants: dict[str, int] | None = None
    ) -> None:
        self._target_ns = pipeline.target_ns
        self._levels = pipeline.levels
        self._level_default = pipeline.level_default
        self._user = user
        # As many as the key file has had: they are told apart for ever.
        self._tenants = {"": 0} if tenants is None else tenants

    def place(self, request: InferenceRequest, tenant: str, arrived_ns: int) -> Standing:
        """How a request stands that arrived at `arrived_ns`."""
        due_ns = arrived_ns + self._target_ns if self._target_ns else NEVER_NS
        level = min(request.priority or self._level_default, self._levels)
        user = 0
        if self._user:
            user = _hash(request.batch.columns[self._user], arrived_ns // HOUR_NS)
        number = self._tenants.get(tenant)
        if number is None:
            number = self._tenants[tenant] = len(self._tenants)
        return Standing(due_ns, level, user, number)


def _hash(column: Array, hour: int) -> int:
    """1 to 127, the same for equal values within an hour."""
    values: Any = column.tolist() if column.dtype.hasobject else column
    data = b"\0".join(values) if column.dtype.hasobject else values.tobytes()
    return 1 + zlib.crc32(b"%d" % hour, zlib.crc32(data)) % (USERS - 1)
