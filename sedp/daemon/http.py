"""The data plane: Open Inference Protocol v2 over HTTP."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from sedp.daemon.body import read_body
from sedp.daemon.dispatch import Call, Handler, Route, Routes, json_response
from sedp.daemon.guard import Scope
from sedp.daemon.oip_metadata import pipeline_metadata, server_metadata
from sedp.daemon.oip_request import RequestReader
from sedp.daemon.oip_response import write_response
from sedp.daemon.oip_wire import LENGTH_HEADER
from sedp.errors import RequestError
from sedp.pipeline import Pipeline, nearest

if TYPE_CHECKING:
    from sedp.config.daemon_settings import DaemonSettings
    from sedp.live import Engine


class DataPlane:
    """What callers of the pipelines see.

    Args:
        engine: answers the requests.
    """

    def __init__(self, engine: Engine, settings: DaemonSettings) -> None:
        self.ready = False
        self._engine = engine
        self._body_bytes_max = settings.body_bytes_max
        self._body_timeout_s = settings.body_timeout_ns / 1e9
        self._tensors_max = settings.tensors_max

    def routes(self) -> Routes:
        """Every path there is, with its methods."""
        server = _constant(server_metadata())
        routes: dict[str, Mapping[str, Route]] = {
            "/v2": {"GET": Route(server, Scope.INFER)},
            "/v2/": {"GET": Route(server, Scope.INFER)},
            "/v2/health/live": {"GET": Route(_constant({"live": True}))},
            "/v2/health/ready": {"GET": Route(self._ready({"ready": True, "live": True}))},
        }
        for pipeline in self._engine.pipelines.values():
            reader = RequestReader(pipeline, self._tensors_max)
            infer = functools.partial(self._infer, pipeline, reader)
            base = f"/v2/models/{pipeline.name}"
            for path in (base, f"{base}/versions/{pipeline.version}"):
                ready = self._ready({"name": pipeline.name, "ready": True})
                metadata = _constant(pipeline_metadata(pipeline))
                routes[path] = {"GET": Route(metadata, Scope.INFER)}
                routes[f"{path}/ready"] = {"GET": Route(ready, Scope.INFER)}
                routes[f"{path}/infer"] = {"POST": Route(infer, Scope.INFER)}
        return routes

    def missing(self, path: str) -> str:
        """Why a path is not there."""
        match path.split("/"):
            case ["", "v2", "models", name, *rest]:
                return self._missing_model(name[:64], rest)
        return f"there is nothing at {path[:200]!r}; GET /v2 answers, and /v2/models/NAME"

    def _missing_model(self, name: str, rest: list[str]) -> str:
        known = self._engine.pipelines
        if name not in known:
            names = ", ".join(sorted(known))
            return f"there is no pipeline {name!r}{nearest(name, known)}; known: {names}"
        if rest[:1] == ["versions"] and rest[1:2] != [known[name].version]:
            version = "".join(rest[1:2])[:64]
            return f"pipeline {name!r} has no version {version!r}; it has {known[name].version!r}"
        return f"there is nothing at that path of pipeline {name!r}; POST …/infer, GET …/ready"

    def _ready(self, body: object) -> Handler:
        async def handle(_call: Call) -> web.Response:
            if self.ready:
                return json_response(200, body)
            return json_response(503, {"error": "not ready: the server is starting or stopping"})

        return handle

    async def _infer(self, pipeline: Pipeline, reader: RequestReader, call: Call) -> web.Response:
        request = call.request
        body = await read_body(request, self._body_bytes_max, self._body_timeout_s)
        if not body:
            raise RequestError("the body is empty; POST a JSON object with inputs")
        inference = reader.read(body, request.headers.get(LENGTH_HEADER))
        timeout_ns = min(inference.timeout_ns or pipeline.deadline_ns, pipeline.deadline_ns)
        columns = await self._engine.infer(
            pipeline.name, inference.batch, deadline_ns=call.arrived_ns + timeout_ns
        )
        answer, json_bytes = write_response(pipeline, inference, columns)
        if json_bytes is None:
            return web.Response(body=answer, headers={"Content-Type": "application/json"})
        headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(json_bytes)}
        return web.Response(body=answer, headers=headers)


def _constant(body: object) -> Handler:
    async def handle(_call: Call) -> web.Response:
        return json_response(200, body)

    return handle
