"""The methods of GRPCInferenceService: what the REST paths answer, over gRPC.

Loading and unloading are not among them: what changes the server is on the admin plane only, so
that exposing this port never exposes them, and so that all workers hear of it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sedp.daemon.access.caller import Scope
from sedp.daemon.failures import what_callers_see
from sedp.daemon.grpc.messages import PACKAGE, message_class
from sedp.daemon.grpc.request import Head, Translator
from sedp.daemon.grpc.response import write_response
from sedp.daemon.grpc.stream import Exchange
from sedp.daemon.oip.metadata import pipeline_config, pipeline_metadata, server_metadata
from sedp.daemon.served import State
from sedp.engine.events import NEVER_NS
from sedp.errors import RequestError

if TYPE_CHECKING:
    from grpc import RpcMethodHandler

    from sedp.config.daemon_settings import DaemonSettings
    from sedp.daemon.access.guard import Guard
    from sedp.daemon.grpc.calls import Border, GrpcCall
    from sedp.daemon.in_flight_bytes import InFlightBytes
    from sedp.daemon.repository import Repository

SERVICE_NAME = f"{PACKAGE}.GRPCInferenceService"

EXTENSIONS = ("schedule_policy", "statistics", "model_configuration")

Statistics = Callable[[str | None], Awaitable[Mapping[str, Any]]]
Give = Callable[[Any], Awaitable[Mapping[str, Any]]]


class InferenceService:
    """Answers the calls of one process.

    Args:
        statistics: the body of the statistics extension over REST, of one pipeline or all.
        is_ready: whether the server wants to be sent requests.
        in_flight: account that messages are taken from.
    """

    def __init__(
        self,
        repository: Repository,
        guard: Guard,
        settings: DaemonSettings,
        statistics: Statistics,
        is_ready: Callable[[], bool],
        in_flight: InFlightBytes,
    ) -> None:
        self._in_flight = in_flight
        self._repository = repository
        self._guard = guard
        self._statistics = statistics
        self._is_ready = is_ready
        self._translator = Translator(settings.tensors_max)

    def handlers(self, border: Border) -> dict[str, RpcMethodHandler]:
        """Every method by its path."""
        gives: dict[str, Give] = {
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
        }
        found = {
            name: border.unary(_reader(name, give), Scope.INFER) for name, give in gives.items()
        }
        found["ServerLive"] = border.unary(_reader("ServerLive", self._server_live), None)
        found["ServerReady"] = border.unary(_reader("ServerReady", self._server_ready), None)
        found["ModelInfer"] = border.unary(self.infer, Scope.INFER)
        found["ModelStreamInfer"] = border.streaming(Exchange(border, self.infer).run, Scope.INFER)
        return {f"/{SERVICE_NAME}/{name}": handler for name, handler in found.items()}

    async def infer(self, call: GrpcCall, message: bytes) -> bytes:
        """Answer a `ModelInferRequest`.

        Raises:
            RequestError: it is wrong, or more than its caller may ask.
            Unanswered: refused, too late, or failed.
        """
        arrived_ns = time.monotonic_ns()
        head, body = self._translator.read(message)
        account = self._in_flight.of(head.model)
        account.take(len(message))
        try:
            return await self._infer(call, message, head, body, arrived_ns)
        finally:
            account.give_back(len(message))

    async def _infer(
        self, call: GrpcCall, message: bytes, head: Head, body: bytes, arrived_ns: int
    ) -> bytes:
        with self._guard.admit(call.caller, head.model, len(message), arrived_ns):
            served = self._repository.find(head.model, head.version)
            request, answer = await served.infer(
                body,
                str(len(head.json)),
                tenant=call.caller.tenant,
                arrived_ns=arrived_ns,
                deadline_ns=call.clip(NEVER_NS),
            )
        return write_response(
            served.pipeline, request, answer, typed=head.typed, degraded=answer.degraded
        )

    async def _server_live(self, _request: Any) -> Mapping[str, Any]:
        return {"live": True}

    async def _server_ready(self, _request: Any) -> Mapping[str, Any]:
        return {"ready": self._is_ready()}

    async def _server_metadata(self, _request: Any) -> Mapping[str, Any]:
        return server_metadata(EXTENSIONS)

    async def _model_ready(self, request: Any) -> Mapping[str, Any]:
        """False, not an error, for what is unknown: so Triton answers, and its client expects."""
        try:
            self._repository.find(request.name, request.version or None)
        except RequestError:
            return {"ready": False}
        return {"ready": self._is_ready()}

    async def _model_metadata(self, request: Any) -> Mapping[str, Any]:
        served = self._repository.find(request.name, request.version or None)
        return pipeline_metadata(served.pipeline)

    async def _model_config(self, request: Any) -> Mapping[str, Any]:
        served = self._repository.find(request.name, request.version or None)
        return {"config": pipeline_config(served.pipeline)}

    async def _model_statistics(self, request: Any) -> Mapping[str, Any]:
        if request.name:
            self._repository.find(request.name, request.version or None)
        return await self._statistics(request.name or None)

    async def _repository_index(self, request: Any) -> Mapping[str, Any]:
        states = self._repository.index()
        if request.ready:
            states = [state for state in states if state.state is State.READY]
        seen = [replace(state, reason=what_callers_see(state.reason)) for state in states]
        return {"models": [asdict(state) for state in seen]}


def _reader(name: str, give: Give) -> Callable[[GrpcCall, bytes], Awaitable[bytes]]:
    """Put message bytes around a method that knows fields."""
    request_class = message_class(f"{name}Request")
    response_class = message_class(f"{name}Response")

    async def answer(_call: GrpcCall, message: bytes) -> bytes:
        try:
            request = request_class.FromString(message)
        except DecodeError as err:
            raise RequestError(f"the bytes are no {name}Request") from err
        response = response_class(**await give(request))
        return bytes(response.SerializeToString())

    return answer
