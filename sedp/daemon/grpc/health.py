"""grpc.health.v1: the server as a whole under "", the service, and each pipeline by its name.

Nothing is kept here that could go stale: a status is worked out when somebody asks or watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from sedp.daemon.grpc.service import SERVICE_NAME
from sedp.errors import RequestError

if TYPE_CHECKING:
    from grpc import RpcMethodHandler

    from sedp.daemon.grpc.calls import Border, GrpcCall
    from sedp.daemon.repository import Repository

HEALTH_NAME = "grpc.health.v1.Health"


class Health:
    """Tells load balancers whom to send requests to.

    Args:
        is_ready: whether the server as a whole wants any.
    """

    def __init__(self, repository: Repository, is_ready: Callable[[], bool]) -> None:
        self._repository = repository
        self._is_ready = is_ready
        self._changed = asyncio.Event()
        self._is_closed = False

    def handlers(self, border: Border) -> dict[str, RpcMethodHandler]:
        """Both methods by path; open to all, as over REST."""
        return {
            f"/{HEALTH_NAME}/Check": border.unary(self._check, None),
            f"/{HEALTH_NAME}/Watch": border.streaming(self._watch, None),
        }

    def refresh(self) -> None:
        """Have all watchers look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Let all watchers go."""
        self._is_closed = True
        self.refresh()

    def status(self, service: str) -> int | None:
        """A `ServingStatus`; `None` when there is no such service."""
        statuses = health_pb2.HealthCheckResponse
        if service not in ("", SERVICE_NAME):
            if service not in self._repository.pipelines:
                return None
            if service not in self._repository.names():
                return int(statuses.NOT_SERVING)
        return int(statuses.SERVING if self._is_ready() else statuses.NOT_SERVING)

    async def _check(self, _call: GrpcCall, message: bytes) -> bytes:
        service = _service(message)
        status = self.status(service)
        if status is None:
            raise RequestError(f"there is no service or pipeline {service[:64]!r}", 404)
        return _response(status)

    async def _watch(self, call: GrpcCall) -> None:
        service = _service(await call.context.read())
        last = None
        while not self._is_closed:
            changed = self._changed
            status = self.status(service)
            if status is None:
                status = int(health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != last:
                await call.context.write(_response(status))
                last = status
            await changed.wait()


def _service(message: Any) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(message).service)
    except (DecodeError, TypeError) as err:
        raise RequestError("the bytes are no HealthCheckRequest") from err


def _response(status: int) -> bytes:
    return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())
