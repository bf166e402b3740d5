"""From a path to its handler, and from whatever happens there to a response.

Paths are known when the daemon starts, so routing is a look-up in a dict. Here is the border
where every exception ends: a wrong request becomes its 4xx, an unanswered event its 5xx, a bug of
ours a 500 that says nothing but a request id. No error body is anything but `{"error": text}`.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import orjson
from aiohttp import web

from sedp.daemon.failures import CALLER_GONE, FailureLog, Refusal, refuse
from sedp.daemon.guard import ANYBODY, Scope
from sedp.errors import RequestError
from sedp.live import Unanswered

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_LENGTH_MAX = 128
SERVER = "sedp"  # aiohttp would name itself, Python, and their versions


class Call:
    """One request on its way through the dispatcher.

    Args:
        request: head read, body not yet.
        id: the caller's `X-Request-Id`, or one of ours.
        arrived_ns: on the monotonic clock.
        caller: who asks; `ANYBODY` until the guard has looked.
    """

    __slots__ = ("arrived_ns", "caller", "id", "request")

    def __init__(self, request: web.BaseRequest, id_: str, arrived_ns: int) -> None:
        self.request = request
        self.id = id_
        self.arrived_ns = arrived_ns
        self.caller = ANYBODY


Handler = Callable[[Call], Awaitable[web.Response]]


class Route(NamedTuple):
    """What answers at a path and method.

    Args:
        scope: that the caller must have; `None` lets everybody in.
    """

    handler: Handler
    scope: Scope | None = None


Routes = Mapping[str, Mapping[str, Route]]  # path → method → route


def json_response(
    status: int, body: object, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers={"Content-Type": "application/json", **(headers or {})},
    )


class Dispatcher:
    """Answers the requests of one listener.

    Args:
        routes: what is there; may be replaced as a whole while serving.
        missing: says why a path is not there; the text of its 404.
        log: for what went wrong on our side.
    """

    def __init__(self, routes: Routes, missing: Callable[[str], str], log: FailureLog) -> None:
        self.responses: Counter[int] = Counter()  # by status
        self.closing = False  # ask clients to leave after their next response
        self.routes = routes
        self._missing = missing
        self._log = log
        self._active = 0
        self._idle = asyncio.Event()
        self._own_id_prefix = secrets.token_hex(8)
        self._own_id = itertools.count(1)

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        call = Call(request, self._request_id(request), time.monotonic_ns())
        self._active += 1
        try:
            response = await self._answer(call)
        except asyncio.CancelledError:
            self.responses[CALLER_GONE] += 1
            raise
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
        self.responses[response.status] += 1
        response.headers[REQUEST_ID_HEADER] = call.id
        response.headers["Server"] = SERVER
        if self.closing or not request.content.is_eof():
            response.force_close()  # a body left unread would be taken for the next request
        return response

    async def idle(self) -> None:
        """Wait until no handler runs."""
        while self._active:
            self._idle.clear()
            await self._idle.wait()

    async def _answer(self, call: Call) -> web.Response:
        try:
            return await self._route(call)
        except RequestError as err:
            return json_response(err.status, {"error": str(err)}, err.headers)
        except Unanswered as err:
            return self._refuse(refuse(err), err, call.id)
        except Exception as err:
            request = call.request
            self._log.write(f"request {call.id}: {request.method} {request.path[:200]!r}", err)
            text = "the server failed on this request; its log has the reason under request id"
            return json_response(500, {"error": f"{text} {call.id}"})

    async def _route(self, call: Call) -> web.Response:
        request = call.request
        methods = self.routes.get(request.raw_path) or self.routes.get(request.path)
        if methods is None:
            raise RequestError(self._missing(request.path), 404)
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allow = ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))
            text = f"method {request.method[:20]!r} is not allowed here; use {allow}"
            return json_response(405, {"error": text}, {"Allow": allow})
        return await route.handler(call)

    def _refuse(self, refusal: Refusal, err: Unanswered, request_id: str) -> web.Response:
        text = refusal.text
        if refusal.status == 500:
            reason = repr(err.__cause__)[:200] if err.__cause__ else "no reason given"
            self._log.write(f"request {request_id}: {err}: {reason}")
            text = f"{text} under request id {request_id}"
        return json_response(refusal.status, {"error": text}, refusal.headers)

    def _request_id(self, request: web.BaseRequest) -> str:
        """The caller's id when it is fit to be written into a log, else one of our own."""
        theirs = request.headers.get(REQUEST_ID_HEADER, "")
        if 0 < len(theirs) <= REQUEST_ID_LENGTH_MAX and theirs.isascii() and theirs.isprintable():
            return theirs
        return f"{self._own_id_prefix}-{next(self._own_id):x}"
