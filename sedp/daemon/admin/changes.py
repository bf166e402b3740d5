"""The calls of the admin plane that change something, each written into the audit log.

A change that has begun is carried through even when its caller leaves: half a reload is none.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.config.daemon_settings import DaemonSettings
from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.caller import ANYBODY, Caller
from sedp.daemon.access.guard import Scope
from sedp.daemon.admin.control import Control
from sedp.daemon.admin.table_update import TableUpdate, decode_json, read_update
from sedp.daemon.http.body import read_body
from sedp.daemon.http.dispatch import Call, Route, json_response
from sedp.daemon.http.path_table import Methods
from sedp.daemon.http.response import Response
from sedp.daemon.oip.wire import LENGTH_HEADER
from sedp.errors import RequestError, SedpError, StoreError

REQUEST_BYTES_MAX = 64 << 10  # of everything but updates
UPDATE_BYTES_MAX = 16 << 20
FEEDBACK_BYTES_MAX = 1 << 20
RETRY = {"Retry-After": "1"}

T = TypeVar("T")

log = logging.getLogger(__name__)


class IndexRequest(msgspec.Struct, frozen=True):
    """Body of `repository/index`."""

    ready: bool = False


class ModelRequest(msgspec.Struct, frozen=True):
    """Body of `load` and `unload`; `unload_dependents` is true of itself, there are none."""

    parameters: dict[str, str | int | float | bool] = {}


class RollbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `rollback`."""

    version: int | None = None


class FeedbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `feedback`; users as the pipeline's input has them."""

    pipeline: str
    users: list[int]

    def keys(self) -> NDArray[np.uint64]:
        """The users; negative ones wrap, as they do in the stages that keep answers.

        Raises:
            RequestError: 400, one does not fit into 64 bits.
        """
        if any(not -(2**63) <= user < 2**64 for user in self.users):
            raise RequestError("users: one is below -2**63 or above 2**64 - 1")
        return np.array([user % 2**64 for user in self.users], np.uint64)


class AdminChanges:
    """Handlers; see `AdminPlane` for where they are.

    Args:
        settings: for the limits of bodies.
    """

    def __init__(self, control: Control, audit: AuditLog, settings: DaemonSettings) -> None:
        self._control = control
        self._audit = audit
        self._settings = settings
        self._running: set[asyncio.Task[Any]] = set()

    def named_routes(self) -> Mapping[str, Callable[[str], Methods]]:
        """What answers at paths with a name in them."""
        handlers = {
            "/v2/repository/models/{name}/load": (self._load, Scope.PUBLISH),
            "/v2/repository/models/{name}/unload": (self._unload, Scope.PUBLISH),
            "/admin/store/{name}/update": (self._update, Scope.UPDATE),
            "/admin/store/{name}/rollback": (self._roll_back, Scope.PUBLISH),
        }
        return {
            path: functools.partial(_post, handler, scope)
            for path, (handler, scope) in handlers.items()
        }

    async def index(self, call: Call) -> Response:
        """Every pipeline and its state; with `{"ready": true}` those that are served."""
        wanted = await self._read(call, IndexRequest)
        states = await self._control.index()
        return json_response(
            200, [state for state in states if state.state == "READY" or not wanted.ready]
        )

    async def reload(self, call: Call) -> Response:
        """Read the config file again; the answer says what changed."""
        lines = await self._change(call.caller, "daemon.reload", "", self._control.reload())
        for line in lines:
            log.info("reload: %s", line)
        return json_response(200, {"changes": lines})

    async def reload_unasked(self) -> list[str]:
        """The same for the operator's signal; who sent it is not known."""
        return await self._change(ANYBODY, "daemon.reload", "SIGHUP", self._control.reload())

    async def restart(self, call: Call) -> Response:
        """Replace all workers, one after the other."""
        await self._change(call.caller, "daemon.restart", "", self._control.restart())
        return json_response(200, {"workers": self._control.workers()})

    async def freeze(self, call: Call) -> Response:
        """Move no knob from now on."""
        return await self._freeze(call, True)

    async def thaw(self, call: Call) -> Response:
        """Move them again."""
        return await self._freeze(call, False)

    async def feed_back(self, call: Call) -> Response:
        """Users have acted: the answers that are kept for them are of no use any more."""
        asked = decode_json(await self._body(call, FEEDBACK_BYTES_MAX), FeedbackRequest)
        users = asked.keys()
        detail = f"{asked.pipeline[:64]}: {len(users)} users"
        told = await self._change(
            call.caller, "pipeline.feedback", detail, self._control.feed_back(asked.pipeline, users)
        )
        if not told:
            text = f"pipeline {asked.pipeline!r} has no stage that keeps answers; none was told"
            raise RequestError(text, 409)
        return json_response(200, {"users": len(users), "stages": told})

    async def _freeze(self, call: Call, frozen: bool) -> Response:
        action = "tuning.freeze" if frozen else "tuning.thaw"
        await self._change(call.caller, action, "", self._control.freeze(frozen))
        return json_response(200, {"frozen": frozen})

    async def _load(self, name: str, call: Call) -> Response:
        parameters = (await self._read(call, ModelRequest)).parameters
        if brought := [key for key in parameters if key == "config" or key.startswith("file:")]:
            raise RequestError(
                f"parameters: {brought[0][:64]!r} is not taken from callers; change the config "
                "file and POST /admin/reload"
            )
        await self._change(call.caller, "pipeline.load", name, self._control.load(name))
        return json_response(200, {})

    async def _unload(self, name: str, call: Call) -> Response:
        await self._read(call, ModelRequest)
        await self._change(call.caller, "pipeline.unload", name, self._control.unload(name))
        return json_response(200, {})

    async def _update(self, name: str, call: Call) -> Response:
        spec = self._control.table(name)
        bytes_max = min(UPDATE_BYTES_MAX, self._settings.body_bytes_max)
        body = await self._body(call, bytes_max)
        request = call.request
        json_bytes = request.headers.get(LENGTH_HEADER)
        durability = request.message.url.query.get("durability")
        update: TableUpdate = await asyncio.to_thread(
            read_update, spec, body, json_bytes, durability
        )
        receipt = await self._change(
            call.caller,
            "store.update",
            f"{name}: {len(update.keys)} rows, {update.durability}, id {update.id!r}",
            self._control.update(name, update.keys, update.rows, update.durability, update.id),
        )
        return json_response(
            200,
            {
                "table": name,
                "rows": len(update.keys),
                "durability": receipt.durability,
                "epoch": receipt.epoch,
                "is_repeat": receipt.is_repeat,
            },
        )

    async def _roll_back(self, name: str, call: Call) -> Response:
        version = (await self._read(call, RollbackRequest)).version
        detail = f"{name} to version {version or 'before'}"
        spec = await self._change(
            call.caller, "store.rollback", detail, self._control.roll_back(name, version)
        )
        return json_response(200, {"table": name, "version": spec.version})

    async def _read(self, call: Call, kind: type[T]) -> T:
        return decode_json(await self._body(call, REQUEST_BYTES_MAX) or b"{}", kind)

    async def _body(self, call: Call, bytes_max: int) -> bytes:
        return await read_body(call.request, bytes_max, self._settings.body_timeout_ns / 1e9)

    async def _change(
        self, caller: Caller, action: str, detail: str, change: Coroutine[Any, Any, T]
    ) -> T:
        """Carry a change through, whether or not its caller waits.

        Raises:
            RequestError: why nothing was changed.
        """
        task = asyncio.create_task(self._carry_through(caller, action, detail, change))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _carry_through(
        self, caller: Caller, action: str, detail: str, change: Coroutine[Any, Any, T]
    ) -> T:
        try:
            async with self._audit.around(caller, action, detail):
                return await change
        except RequestError:
            raise
        except StoreError as err:
            raise RequestError(f"the store did not do it: {err}", 503, RETRY) from err
        except SedpError as err:
            raise RequestError(str(err)) from err
        finally:
            change.close()  # it never began if the audit log refused it


def _post(handler: Callable[[str, Call], Awaitable[Response]], scope: Scope, name: str) -> Methods:
    return {"POST": Route(functools.partial(handler, name), scope)}
