"""The admin plane: metrics, health and a status page, on a socket of its own.

It is never on the data plane's socket, so that callers of the pipelines cannot see it; it changes
nothing, and answers while the data plane is full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from sedp.daemon.dispatch import Call, Route, Routes, json_response
from sedp.daemon.guard import Scope
from sedp.daemon.metrics import registry
from sedp.daemon.statistics import DaemonStatistics
from sedp.daemon.status import StatusWriter
from sedp.daemon.status_page import PAGE, PAGE_POLICY
from sedp.pipeline import Pipeline


class AdminPlane:
    """What operators see.

    Args:
        pipelines: those served.
        statistics: asked at each request.
    """

    def __init__(
        self, pipelines: Mapping[str, Pipeline], statistics: Callable[[], DaemonStatistics]
    ) -> None:
        self._statistics = statistics
        self._registry = registry(statistics)
        self._status = StatusWriter(pipelines)

    def routes(self) -> Routes:
        return {
            "/": {"GET": Route(self._page, Scope.METRICS)},
            "/status.json": {"GET": Route(self._status_json, Scope.METRICS)},
            "/metrics": {"GET": Route(self._metrics, Scope.METRICS)},
            "/healthz": {"GET": Route(self._health)},
        }

    def missing(self, path: str) -> str:
        """Why a path is not there."""
        return f"there is nothing at {path[:200]!r}; there are: {', '.join(self.routes())}"

    async def _page(self, _call: Call) -> web.Response:
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": PAGE_POLICY,
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=PAGE, headers=headers)

    async def _status_json(self, _call: Call) -> web.Response:
        status = self._status.write(self._statistics())
        return json_response(200, status, {"Cache-Control": "no-store"})

    async def _metrics(self, call: Call) -> web.Response:
        encode, content_type = choose_encoder(call.request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _health(self, _call: Call) -> web.Response:
        """Alive as long as the loop turns; whether to send traffic is in `ready`."""
        return json_response(200, {"live": True, "ready": self._statistics().ready})
