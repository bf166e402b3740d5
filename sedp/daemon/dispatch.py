"""From a path to its handler, and from whatever happens there to a response.

Paths are known when the daemon starts, so routing is a look-up in a dict. Here is the border
where every exception ends: a wrong request becomes its 4xx, an unanswered event its 5xx, a bug of
ours a 500 that says nothing but a request id. No error body is anything but `{"error": text}`.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from sedp.daemon.failures import CALLER_GONE, FailureLog, Refusal, refuse
from sedp.errors import RequestError
from sedp.live import Unanswered

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_LENGTH_MAX = 128
SERVER = "sedp"  # aiohttp would name itself, Python, and their versions

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]
Routes = Mapping[str, Mapping[str, Handler]]  # path → method → handler


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
        routes: what is there.
        missing: says why a path is not there; the text of its 404.
        log: for what went wrong on our side.
    """

    def __init__(self, routes: Routes, missing: Callable[[str], str], log: FailureLog) -> None:
        self.responses: Counter[int] = Counter()  # by status
        self.closing = False  # ask clients to leave after their next response
        self._routes = routes
        self._missing = missing
        self._log = log
        self._active = 0
        self._idle = asyncio.Event()
        self._own_id_prefix = secrets.token_hex(8)
        self._own_id = itertools.count(1)

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        request_id = self._request_id(request)
        self._active += 1
        try:
            response = await self._answer(request, request_id)
        except asyncio.CancelledError:
            self.responses[CALLER_GONE] += 1
            raise
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
        self.responses[response.status] += 1
        response.headers[REQUEST_ID_HEADER] = request_id
        response.headers["Server"] = SERVER
        if self.closing or not request.content.is_eof():
            response.force_close()  # a body left unread would be taken for the next request
        return response

    async def idle(self) -> None:
        """Wait until no handler runs."""
        while self._active:
            self._idle.clear()
            await self._idle.wait()

    async def _answer(self, request: web.BaseRequest, request_id: str) -> web.Response:
        try:
            return await self._route(request)
        except RequestError as err:
            return json_response(err.status, {"error": str(err)})
        except Unanswered as err:
            return self._refuse(refuse(err), err, request_id)
        except Exception as err:
            self._log.write(f"request {request_id}: {request.method} {request.path[:200]!r}", err)
            text = "the server failed on this request; its log has the reason under request id"
            return json_response(500, {"error": f"{text} {request_id}"})

    async def _route(self, request: web.BaseRequest) -> web.Response:
        methods = self._routes.get(request.raw_path) or self._routes.get(request.path)
        if methods is None:
            raise RequestError(self._missing(request.path), 404)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))
            text = f"method {request.method[:20]!r} is not allowed here; use {allow}"
            return json_response(405, {"error": text}, {"Allow": allow})
        return await handler(request)

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
