"""The data plane: Open Inference Protocol v2 over HTTP.

It reads and infers; whatever changes the server is on the admin plane. The routes follow the
pipelines that are loaded, and are made anew when those change.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sedp.answer import Unanswered
from sedp.daemon.access.guard import Guard, Scope
from sedp.daemon.deadlines import TIMEOUT_HEADER, read_timeout
from sedp.daemon.http.body import read_body
from sedp.daemon.http.dispatch import Alike, Call, Handler, Route, Routes, json_response
from sedp.daemon.http.response import Response
from sedp.daemon.http.turn_clock import TurnClock
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.oip.metadata import (
    DATA_EXTENSIONS,
    pipeline_config,
    pipeline_metadata,
    server_metadata,
)
from sedp.daemon.oip.response import write_response
from sedp.daemon.oip.statistics import Loaded, model_statistics
from sedp.daemon.oip.wire import LENGTH_HEADER
from sedp.daemon.repository import Repository
from sedp.engine.events import NEVER_NS
from sedp.errors import RequestError
from sedp.live import UNKNOWN_LEVEL
from sedp.pipeline import Pipeline

if TYPE_CHECKING:
    from sedp.config.daemon_settings import DaemonSettings

Gather = Callable[[], Awaitable[DaemonStatistics]]


class DataPlane:
    """What callers of the pipelines see.

    Args:
        gather: statistics of all workers.
        turns: on while a pipeline has a target.
        in_flight: account of bytes of the process.
    """

    def __init__(
        self,
        repository: Repository,
        guard: Guard,
        settings: DaemonSettings,
        gather: Gather,
        turns: TurnClock,
        in_flight: InFlightBytes,
    ) -> None:
        self.ready = False
        self.settings = settings  # replaced when they are reloaded
        self._repository = repository
        self._guard = guard
        self._gather = gather
        self._turns = turns
        self._in_flight = in_flight

    def routes(self) -> Routes:
        """Every path there is now, with its methods."""
        self._turns.is_on = any(one.pipeline.target_ns for one in self._repository.served())
        server = constant(server_metadata(DATA_EXTENSIONS))
        routes: dict[str, dict[str, Route]] = {
            "/v2": {"GET": Route(server, Scope.INFER)},
            "/v2/": {"GET": Route(server, Scope.INFER)},
            "/v2/health/live": {"GET": Route(constant({"live": True}))},
            "/v2/health/ready": {"GET": Route(self._ready({"ready": True, "live": True}))},
        }
        for served in self._repository.served():
            pipeline = served.pipeline
            base = f"/v2/models/{pipeline.name}"
            routes |= self._pipeline_routes(base, pipeline)
            routes |= self._pipeline_routes(f"{base}/versions/{pipeline.version}", pipeline)
        # A pipeline may be named `stats`; its metadata is then at …/versions/1 alone.
        routes["/v2/models/stats"] = {"GET": Route(self._statistics(None), Scope.INFER)}
        return routes

    def missing(self, path: str) -> str:
        """Why a path is not there."""
        match path.split("/"):
            case ["", "v2", "models", name, *rest]:
                return self._missing_below(name, rest)
        return f"there is nothing at {path[:200]!r}; GET /v2 answers, and /v2/models/NAME"

    def _pipeline_routes(self, base: str, pipeline: Pipeline) -> dict[str, dict[str, Route]]:
        gets = {
            base: constant(pipeline_metadata(pipeline)),
            f"{base}/config": constant(pipeline_config(pipeline)),
            f"{base}/ready": self._ready({"name": pipeline.name, "ready": True}),
            f"{base}/stats": self._statistics(pipeline.name),
        }
        infer = functools.partial(self._infer, pipeline.name)
        by_level = pipeline.levels > 1
        refuse = functools.partial(self._refuse, pipeline.name, UNKNOWN_LEVEL if by_level else 1)
        return {
            **{path: {"GET": Route(handler, Scope.INFER)} for path, handler in gets.items()},
            f"{base}/infer": {"POST": Route(infer, Scope.INFER, refuse, by_level)},
        }

    def _missing_below(self, name: str, rest: list[str]) -> str:
        version = rest[1] if rest[:1] == ["versions"] and rest[1:] else None
        try:
            self._repository.find(name, version)
        except RequestError as err:
            return str(err)
        return f"there is nothing at that path of pipeline {name!r}; POST …/infer, GET …/ready"

    def _ready(self, body: object) -> Handler:
        async def handle(_call: Call) -> Response:
            if self.ready:
                return json_response(200, body)
            return json_response(503, {"error": "not ready: the server is starting or stopping"})

        return handle

    async def statistics(self, name: str | None) -> dict[str, Any]:
        """The body of the statistics extension: of one pipeline, or of all that are loaded."""
        gathered = await self._gather()
        offset_ns = time.time_ns() - time.monotonic_ns()
        loaded = {
            served.pipeline.name: Loaded(
                served.pipeline.version,
                (served.asked_ns + offset_ns) // 1_000_000 if served.asked_ns else 0,
            )
            for served in self._repository.served()
        }
        return model_statistics(gathered.engine, loaded, name)

    def _statistics(self, name: str | None) -> Handler:
        async def handle(_call: Call) -> Response:
            return json_response(200, await self.statistics(name))

        return handle

    def _refuse(self, name: str, level: int) -> Unanswered | None:
        """Why no request of a level would be let in now, whatever else is in it."""
        try:
            served = self._repository.find(name)
        except RequestError:
            return None  # said when the request is read
        level = min(level, served.pipeline.levels)  # there may have been more when it was read
        return served.engine.refuse(name, self._turns.arrival_ns(), level)

    async def _infer(self, name: str, call: Call) -> Response:
        request = call.request
        timeout_ns = read_timeout(request.headers.get(TIMEOUT_HEADER))
        declared = request.content_length
        with self._guard.admit(call.caller, name, declared or 0, call.arrived_ns) as lease:
            settings = self.settings
            request.connection.account = self._in_flight.of(name)
            body = await read_body(request, settings.body_bytes_max, settings.body_timeout_ns / 1e9)
            if declared is None:
                lease.charge(len(body), time.monotonic_ns())
            if not body:
                raise RequestError("the body is empty; POST a JSON object with inputs")
            # Only now: while the body arrived the pipeline may have been replaced.
            served = self._repository.find(name)
            json_length = request.headers.get(LENGTH_HEADER)
            try:
                asked, answer = await served.infer(
                    body,
                    json_length,
                    tenant=call.caller.tenant,
                    arrived_ns=call.arrived_ns,
                    deadline_ns=NEVER_NS if timeout_ns is None else call.arrived_ns + timeout_ns,
                )
            except Unanswered as err:
                if err.level and json_length is not None and served.pipeline.levels > 1:
                    refuse = functools.partial(self._refuse, name, err.level)
                    call.alike = Alike(int(json_length), refuse)
                raise
        written, json_bytes = write_response(served.pipeline, asked, answer, answer.degraded)
        if json_bytes is None:
            return Response(body=written, headers={"Content-Type": "application/json"})
        headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(json_bytes)}
        return Response(body=written, headers=headers)


def constant(body: object) -> Handler:
    """A handler whose answer never changes."""

    async def handle(_call: Call) -> Response:
        return json_response(200, body)

    return handle
