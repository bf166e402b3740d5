"""How failures look over gRPC: the status codes of what REST says in HTTP's.

A wait is told twice: `retry-after` in seconds, as over REST, and `grpc-retry-pushback-ms`, which
gRPC clients with a retry policy obey by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grpc import StatusCode

from sedp.answer import Unanswered
from sedp.daemon.failures import refuse
from sedp.engine.events import Outcome
from sedp.errors import RequestError

TEXT_LENGTH_MAX = 1024  # all trailers must stay under 8 KiB, and odd characters take 3 bytes each

Metadata = tuple[tuple[str, str], ...]

_OF_HTTP: Mapping[int, StatusCode] = {
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    405: StatusCode.UNIMPLEMENTED,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.FAILED_PRECONDITION,
    413: StatusCode.RESOURCE_EXHAUSTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.RESOURCE_EXHAUSTED,  # only what is full says so; see below for not ready
    504: StatusCode.DEADLINE_EXCEEDED,
}
_OF_OUTCOME: Mapping[Outcome, StatusCode] = {
    Outcome.QUEUE_FULL: StatusCode.RESOURCE_EXHAUSTED,
    Outcome.DEADLINE: StatusCode.DEADLINE_EXCEEDED,
    Outcome.CANCELLED: StatusCode.CANCELLED,
    Outcome.FAILED: StatusCode.INTERNAL,
    Outcome.DRAINING: StatusCode.UNAVAILABLE,
    Outcome.SHED: StatusCode.RESOURCE_EXHAUSTED,
    Outcome.UNAVAILABLE: StatusCode.UNAVAILABLE,
    Outcome.QUARANTINED: StatusCode.INVALID_ARGUMENT,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a caller is told.

    Args:
        http_status: of the same failure over REST, for counters.
        metadata: to be sent along.
    """

    code: StatusCode
    http_status: int
    text: str
    metadata: Metadata = ()


def explain(err: RequestError | Unanswered, request_id: str) -> Failure:
    """What the caller is told of a request that was refused or ended without an answer."""
    if isinstance(err, RequestError):
        code = _OF_HTTP.get(err.status, StatusCode.INVALID_ARGUMENT)
        return Failure(code, err.status, str(err)[:TEXT_LENGTH_MAX], _metadata(err.headers))
    refusal = refuse(err)
    text = refusal.text
    if err.outcome is Outcome.FAILED:
        text = f"{text} under request id {request_id}"
    code = _OF_OUTCOME[err.outcome]
    return Failure(code, refusal.status, text, _metadata(refusal.headers))


def own_failure(request_id: str) -> Failure:
    """What the caller is told of a bug of ours."""
    text = "the server failed on this request; its log has the reason under request id"
    return Failure(StatusCode.INTERNAL, 500, f"{text} {request_id}")


def _metadata(headers: Mapping[str, str]) -> Metadata:
    found = [(name.lower(), value) for name, value in headers.items()]
    wait_s = headers.get("Retry-After", "")
    if wait_s.isdigit():
        found.append(("grpc-retry-pushback-ms", str(int(wait_s) * 1000)))
    return tuple(found)
