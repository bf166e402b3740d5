"""Server reflection: which services there are and what their messages look like.

So tools such as grpcurl work without a copy of the schema. The library's servicer answers; both
versions of the protocol are the same but for their names, and tools ask for either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from sedp.daemon.access.caller import Scope
from sedp.daemon.grpc.health import HEALTH_NAME
from sedp.daemon.grpc.messages import POOL
from sedp.daemon.grpc.service import SERVICE_NAME
from sedp.errors import RequestError

if TYPE_CHECKING:
    from grpc import RpcMethodHandler

    from sedp.daemon.grpc.calls import Border, GrpcCall

PATHS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)

for known in (health_pb2, reflection_pb2):
    POOL.AddSerializedFile(known.DESCRIPTOR.serialized_pb)

_SERVICER = reflection.aio.ReflectionServicer(
    (SERVICE_NAME, HEALTH_NAME, reflection.SERVICE_NAME), POOL
)


def handlers(border: Border) -> dict[str, RpcMethodHandler]:
    """The method by its paths."""
    return dict.fromkeys(PATHS, border.streaming(_converse, Scope.INFER))


async def _converse(call: GrpcCall) -> None:
    async for answer in _SERVICER.ServerReflectionInfo(_questions(call), call.context):
        await call.context.write(answer.SerializeToString())


async def _questions(call: GrpcCall) -> AsyncIterator[Any]:
    while (message := await call.context.read()) is not grpc.aio.EOF:
        try:
            yield reflection_pb2.ServerReflectionRequest.FromString(message)
        except DecodeError as err:
            raise RequestError("the bytes are no ServerReflectionRequest") from err
