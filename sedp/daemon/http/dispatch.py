"""From a path to its handler, and from whatever happens there to a response.

Paths are known when the daemon starts, so routing is a look-up in a dict. Here is the border
where every exception ends: a wrong request becomes its 4xx, an unanswered event its 5xx, a bug of
ours a 500 that says nothing but a request id. No error body is anything but `{"error": text}`.

Who calls is asked before anything else: without an answer no path, no name and no body is looked
at, so that strangers learn nothing and cost little.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, NoReturn

from aiohttp import HttpVersion11, hdrs
from multidict import istr

from sedp.answer import Unanswered
from sedp.daemon.access.guard import ANYBODY, Guard, Peer, Scope
from sedp.daemon.failures import CALLER_GONE, FailureLog, Refusal, refuse
from sedp.daemon.http.compression import deflate
from sedp.daemon.http.early_refusals import EarlyRefusals, Reason
from sedp.daemon.http.request import Request
from sedp.daemon.http.response import SERVER, Response, json_response
from sedp.daemon.request_ids import RequestIds
from sedp.daemon.traces import read_trace
from sedp.errors import RequestError

__all__ = ["SERVER", "Call", "Dispatcher", "Handler", "Route", "Routes", "json_response"]

REQUEST_ID_HEADER = istr("X-Request-Id")


class Alike(NamedTuple):
    """Requests that are refused for the same reason as one that was read.

    Args:
        body_bytes: at the beginning of the body, that they share beside the head.
        reason: why they are not served now, if so; counts one.
    """

    body_bytes: int
    reason: Reason


class Call:
    """One request on its way through the dispatcher.

    Args:
        request: head read, body not yet.
        id: the caller's `X-Request-Id`, or one of ours.
        arrived_ns: on the monotonic clock.
        caller: who asks; `ANYBODY` where nobody is asked.
        alike: set by a handler that refuses it.
    """

    __slots__ = ("alike", "arrived_ns", "caller", "id", "request")

    def __init__(self, request: Request, id_: str, arrived_ns: int) -> None:
        self.request = request
        self.id = id_
        self.arrived_ns = arrived_ns
        self.caller = ANYBODY
        self.alike: Alike | None = None


Handler = Callable[[Call], Awaitable[Response]]


class Route(NamedTuple):
    """What answers at a path and method.

    Args:
        scope: that the caller must have; `None` lets everybody in.
        refuse: why the next request would not be answered, whatever it is; asked, and counted,
            before a body is read. `None` when it may come.
        by_body: what `refuse` says of one request need not hold for the next with the same head.
    """

    handler: Handler
    scope: Scope | None = None
    refuse: Reason | None = None
    by_body: bool = False


Routes = Mapping[str, Mapping[str, Route]]  # path → method → route


class Dispatcher:
    """Answers the requests of one listener.

    Args:
        routes: what is there; may be replaced as a whole while serving.
        missing: says why a path is not there; the text of its 404.
        log: for what went wrong on our side.
        guard: asked who calls.
        now_ns: when a request that is being read has arrived, on the monotonic clock.
    """

    def __init__(
        self,
        routes: Routes,
        missing: Callable[[str], str],
        log: FailureLog,
        guard: Guard | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.responses: Counter[int] = Counter()  # by status
        self.closing = False  # ask clients to leave after their next response
        self.routes = routes
        self._ids = RequestIds()
        self.early = EarlyRefusals(self.responses, self._ids)
        self._missing = missing
        self._log = log
        self._guard = guard or Guard()
        self._now_ns = now_ns
        self._active = 0
        self._idle = asyncio.Event()

    async def __call__(self, request: Request, peer: Peer) -> Response:
        """Answer one request, whatever happens.

        Args:
            peer: of the connection it came on.
        """
        headers = request.headers
        id_ = self._ids.choose(headers.get(REQUEST_ID_HEADER, ""))
        call = Call(request, id_, self._now_ns())
        self._active += 1
        try:
            response = await self._route(call, peer).handler(call)
        except asyncio.CancelledError:
            self.responses[CALLER_GONE] += 1
            raise
        except Exception as err:
            response = self._excuse(call, peer, err)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
        self.responses[response.status] += 1
        if hdrs.ACCEPT_ENCODING in headers:
            await deflate(response, headers[hdrs.ACCEPT_ENCODING])
        response.headers[REQUEST_ID_HEADER] = call.id
        if (trace := read_trace(headers)) is not None:
            response.headers |= trace.headers()
        return response

    async def idle(self) -> None:
        """Wait until no handler runs."""
        while self._active:
            self._idle.clear()
            await self._idle.wait()

    def _excuse(self, call: Call, peer: Peer, err: Exception) -> Response:
        """What is told instead of an answer."""
        if isinstance(err, RequestError):
            return json_response(err.status, {"error": str(err)}, err.headers)
        if isinstance(err, Unanswered):
            if call.alike is not None:
                self._learn(call.request, peer, *call.alike)
            return self._refuse(refuse(err), err, call)
        request = call.request
        self._note(call, f"{request.method} {request.path[:200]!r}", err)
        text = "the server failed on this request; its log has the reason under request id"
        return json_response(500, {"error": f"{text} {call.id}"})

    def _route(self, call: Call, peer: Peer) -> Route:
        """What is to answer, once it is clear that the caller may ask."""
        request = call.request
        methods = self.routes.get(request.raw_path) or self.routes.get(request.path)
        route = None
        if methods is not None:
            route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None or route.scope is not None:
            call.caller = self._guard.identify(request.headers, peer)
        if route is None:
            self._say_absent(request, methods)
        if route.scope is not None:
            self._guard.require(call.caller, route.scope)
        if route.refuse is not None and (unanswered := route.refuse()) is not None:
            if not route.by_body:
                self._learn(request, peer, 0, route.refuse)
            raise unanswered
        return route

    def _learn(self, request: Request, peer: Peer, body_bytes: int, reason: Reason) -> None:
        """Remember how a refused request began, if that says all there is to say about it."""
        headers = request.headers
        opening = request.connection.opening(body_bytes)
        if opening is None or request.version != HttpVersion11 or not request.keep_alive:
            return
        if "Expect" in headers or "Upgrade" in headers or read_trace(headers) is not None:
            return
        id_ = headers.get(REQUEST_ID_HEADER, "")
        request_id = id_ if id_ and self._ids.choose(id_) == id_ else ""
        whole = request.content_length or 0
        self.early.learn(opening, body_bytes, whole, peer, request_id, reason)

    def _say_absent(self, request: Request, methods: Mapping[str, Route] | None) -> NoReturn:
        if methods is None:
            raise RequestError(self._missing(request.path), 404)
        allow = ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))
        text = f"method {request.method[:20]!r} is not allowed here; use {allow}"
        raise RequestError(text, 405, {"Allow": allow})

    def _refuse(self, refusal: Refusal, err: Unanswered, call: Call) -> Response:
        text = refusal.text
        if refusal.status == 500:
            reason = repr(err.__cause__)[:200] if err.__cause__ else "no reason given"
            self._note(call, f"{err}: {reason}")
            text = f"{text} under request id {call.id}"
        return json_response(refusal.status, {"error": text}, refusal.headers)

    def _note(self, call: Call, text: str, error: BaseException | None = None) -> None:
        trace = read_trace(call.request.headers)
        where = f"request {call.id}" + (f", trace {trace.id}" if trace is not None else "")
        self._log.write(f"{where}: {text}", error)
