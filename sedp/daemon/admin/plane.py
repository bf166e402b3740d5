"""The admin plane: what operators see, and the only place from which the server can be changed.

It is never on the data plane's socket, so that callers of the pipelines cannot see it, and it
answers while the data plane is full.
"""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder

from sedp.config.daemon_settings import DaemonSettings
from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.guard import Scope
from sedp.daemon.admin.changes import AdminChanges
from sedp.daemon.admin.control import Control
from sedp.daemon.admin.tuning_report import MOVES_MAX, report_moves, report_plan
from sedp.daemon.http.dispatch import Call, Route, Routes, json_response
from sedp.daemon.http.path_table import PathTable
from sedp.daemon.http.response import Response
from sedp.daemon.monitoring.metrics import registry
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.monitoring.status import StatusWriter
from sedp.daemon.monitoring.status_page import PAGE, PAGE_POLICY
from sedp.daemon.oip.metadata import ADMIN_EXTENSIONS, server_metadata

FRESH = {"Cache-Control": "no-store"}


class AdminPlane:
    """Routes of the admin plane.

    Args:
        control: of this process, or of all workers.
        audit: where changes are recorded; closed with the plane.
    """

    def __init__(self, control: Control, audit: AuditLog, settings: DaemonSettings) -> None:
        self._control = control
        self.changes = AdminChanges(control, audit, settings)
        self._audit = audit
        self._latest: DaemonStatistics | None = None
        self._registry = registry(self._last_gathered, lambda: control.pipelines)
        self._status = StatusWriter(control.pipelines)

    def routes(self) -> Routes:
        """Every path there is, with its methods; names in paths are checked when asked for."""
        metrics, admin, changes = Scope.METRICS, Scope.ADMIN, self.changes
        return PathTable(
            {
                "/": {"GET": Route(self._page, metrics)},
                "/status.json": {"GET": Route(self._status_json, metrics)},
                "/metrics": {"GET": Route(self._metrics, metrics)},
                "/healthz": {"GET": Route(self._health)},
                "/v2": {"GET": Route(self._server, metrics)},
                "/v2/": {"GET": Route(self._server, metrics)},
                "/v2/health/live": {"GET": Route(self._live)},
                "/v2/health/ready": {"GET": Route(self._ready)},
                "/admin/reload": {"POST": Route(changes.reload, admin)},
                "/admin/restart": {"POST": Route(changes.restart, admin)},
                "/admin/workers": {"GET": Route(self._workers, admin)},
                "/admin/moves": {"GET": Route(self._moves, metrics)},
                "/admin/plan": {"GET": Route(self._plan, metrics)},
                "/admin/tuning/freeze": {"POST": Route(changes.freeze, admin)},
                "/admin/tuning/thaw": {"POST": Route(changes.thaw, admin)},
                "/admin/feedback": {"POST": Route(changes.feed_back, Scope.UPDATE)},
                "/v2/repository/index": {"POST": Route(changes.index, metrics)},
            },
            changes.named_routes(),
        )

    def missing(self, path: str) -> str:
        """Why a path is not there."""
        return f"there is nothing at {path[:200]!r}; there are: {', '.join(self.routes())}"

    def close(self) -> None:
        self._audit.close()

    def _last_gathered(self) -> DaemonStatistics:
        assert self._latest is not None
        return self._latest

    async def _page(self, _call: Call) -> Response:
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": PAGE_POLICY,
            "X-Content-Type-Options": "nosniff",
        }
        return Response(body=PAGE, headers=headers)

    async def _status_json(self, _call: Call) -> Response:
        statistics = await self._control.statistics()
        self._status.pipelines = self._control.pipelines  # a reload may have changed them
        return json_response(200, self._status.write(statistics), FRESH)

    async def _metrics(self, call: Call) -> Response:
        encode, content_type = choose_encoder(call.request.headers.get("Accept", ""))
        self._latest = await self._control.statistics()
        return Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _workers(self, _call: Call) -> Response:
        return json_response(200, {"workers": self._control.workers()})

    async def _moves(self, _call: Call) -> Response:
        return json_response(200, report_moves(await self._control.tuning(MOVES_MAX)), FRESH)

    async def _plan(self, _call: Call) -> Response:
        return json_response(200, report_plan(await self._control.tuning(0)), FRESH)

    async def _server(self, _call: Call) -> Response:
        return json_response(200, server_metadata(ADMIN_EXTENSIONS))

    async def _health(self, _call: Call) -> Response:
        """Alive as long as the loop turns; whether to send traffic is in `ready`."""
        return json_response(200, {"live": True, "ready": self._control.ready})

    async def _live(self, _call: Call) -> Response:
        return json_response(200, {"live": True})

    async def _ready(self, _call: Call) -> Response:
        if self._control.ready:
            return json_response(200, {"ready": True, "live": True})
        return json_response(503, {"error": "not ready: the server is starting or stopping"})
