"""From a gRPC call to its handler, and from whatever happens there to a status.

The border where every exception ends, as the dispatcher is for HTTP. Messages cross it as bytes:
gRPC would answer bytes that do not parse with INTERNAL and a traceback in the log. Every method is
registered as taking a stream, which looks the same on the wire: so a caller is known, or refused,
before his message is read, and reading has a time limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import grpc
from multidict import MultiDict

from sedp.daemon.caller import ANYBODY, Scope
from sedp.daemon.failures import CALLER_GONE, FailureLog
from sedp.daemon.grpc_status import Failure, explain, own_failure
from sedp.daemon.guard import Guard, Peer
from sedp.errors import RequestError
from sedp.live import Unanswered

REQUEST_ID_KEY = "x-request-id"


class GrpcCall:
    """One call on its way through the border.

    Args:
        context: gRPC's side of it.
        metadata: the caller's, keys in lower case.
        id: the caller's `x-request-id`, or one of ours.
        arrived_ns: on the monotonic clock.
        caller: who asks; `ANYBODY` until the guard has looked.
    """

    __slots__ = ("arrived_ns", "caller", "context", "id", "metadata")

    def __init__(self, context: Any, id_: str, metadata: Mapping[str, str]) -> None:
        self.context = context
        self.metadata = metadata
        self.id = id_
        self.arrived_ns = time.monotonic_ns()
        self.caller = ANYBODY
