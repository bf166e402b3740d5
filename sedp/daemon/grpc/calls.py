"""From a gRPC call to its handler, and from whatever happens there to a status.

The border where every exception ends, as the dispatcher is for HTTP. Messages cross it as bytes:
gRPC would answer bytes that do not parse with INTERNAL and a traceback in the log. Every method is
registered as taking a stream, which looks the same on the wire: so a caller is known, or refused,
before his message is read, and reading it has a time limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from multidict import MultiDict

from sedp.answer import Unanswered
from sedp.daemon.access.caller import ANYBODY, Scope
from sedp.daemon.access.guard import NOBODY, Guard, Peer
from sedp.daemon.failures import CALLER_GONE, FailureLog
from sedp.daemon.grpc.status import Failure, explain, own_failure
from sedp.daemon.request_ids import RequestIds
from sedp.daemon.traces import Trace, read_trace
from sedp.errors import RequestError

REQUEST_ID_KEY = "x-request-id"


class GrpcCall:
    """One call on its way through the border.

    Args:
        context: gRPC's side of it.
        metadata: the caller's, keys in lower case.
        id: the caller's `x-request-id`, or one of ours.
        trace: that it belongs to, if any.
        arrived_ns: on the monotonic clock.
        caller: who asks; `ANYBODY` until the guard has looked.
    """

    __slots__ = ("arrived_ns", "caller", "context", "id", "metadata", "trace")

    def __init__(self, context: Any, ids: RequestIds) -> None:
        self.arrived_ns = time.monotonic_ns()
        self.context = context
        self.metadata: MultiDict[str] = MultiDict(context.invocation_metadata())
        self.id = ids.choose(self.metadata.get(REQUEST_ID_KEY, ""))
        self.trace: Trace | None = read_trace(self.metadata)
        self.caller = ANYBODY

    def clip(self, deadline_ns: int) -> int:
        """The earlier of a deadline on the monotonic clock and that of the call, if it has one."""
        left_s = self.context.time_remaining()
        if left_s is None:
            return deadline_ns
        return min(deadline_ns, time.monotonic_ns() + int(left_s * 1e9))

    def __str__(self) -> str:
        return f"gRPC request {self.id}" + (f", trace {self.trace.id}" if self.trace else "")

    def trailers(self) -> tuple[tuple[str, str], ...]:
        """What goes back with every answer and every refusal."""
        if self.trace is None:
            return ((REQUEST_ID_KEY, self.id),)
        # HTTP lets tabs through between list members; gRPC would fail on them.
        traced = ((key, text.replace("\t", " ")) for key, text in self.trace.headers().items())
        return ((REQUEST_ID_KEY, self.id), *traced)


Answer = Callable[[GrpcCall, bytes], Awaitable[bytes]]
Converse = Callable[[GrpcCall], Awaitable[None]]
Act = Callable[[GrpcCall], Awaitable[bytes | None]]


class Border:
    """Makes method handlers of functions that may fail.

    Args:
        guard: asked before a message is read.
        peer: what is known of a call's connection.
        log: for what went wrong on our side.
        read_s: how long a message may take to arrive.
        streams_max: most calls of methods that stream, at once; they may stay for hours and must
            not take the places of the others.
    """

    def __init__(
        self,
        guard: Guard,
        log: FailureLog,
        *,
        read_s: float,
        streams_max: int,
        peer: Callable[[Any], Peer] = lambda context: NOBODY,
    ) -> None:
        self.responses: Counter[int] = Counter()  # by the HTTP status of the same over REST
        self.active = 0
        self._guard = guard
        self._log = log
        self._read_s = read_s
        self._streams_max = streams_max
        self._streams = 0
        self._peer = peer
        self._ids = RequestIds()

    def unary(self, answer: Answer, scope: Scope | None) -> grpc.RpcMethodHandler:
        """A method with one message in and one out.

        Args:
            scope: that the caller must have; `None` lets everybody in.
        """

        async def read_and_answer(call: GrpcCall) -> bytes:
            return await answer(call, await self._read(call.context))

        return grpc.stream_unary_rpc_method_handler(self._guarded(read_and_answer, scope))

    def streaming(self, converse: Converse, scope: Scope | None) -> grpc.RpcMethodHandler:
        """A method that reads and writes by itself."""

        async def take_place(call: GrpcCall) -> None:
            if self._streams >= self._streams_max:
                text = f"{self._streams_max} streams are open; at most so many are allowed"
                raise RequestError(text, 429)
            self._streams += 1
            try:
                await converse(call)
            finally:
                self._streams -= 1

        return grpc.stream_stream_rpc_method_handler(self._guarded(take_place, scope))

    def explain(self, call: GrpcCall, err: Exception) -> Failure:
        """What the caller is told; the log hears of what we should know."""
        if isinstance(err, RequestError):
            return explain(err, call.id)
        if isinstance(err, Unanswered):
            failure = explain(err, call.id)
            if failure.http_status == 500:
                reason = repr(err.__cause__)[:200] if err.__cause__ else "no reason given"
                self._log.write(f"{call}: {err}: {reason}")
            return failure
        self._log.write(f"{call} failed", err)
        return own_failure(call.id)

    def _guarded(self, act: Act, scope: Scope | None) -> Callable[..., Awaitable[bytes | None]]:
        async def handle(_messages: object, context: Any) -> bytes | None:
            call = GrpcCall(context, self._ids)
            self.active += 1
            try:
                if scope is not None:
                    call.caller = self._guard.identify(call.metadata, self._peer(context))
                    self._guard.require(call.caller, scope)
                answer = await act(call)
            except asyncio.CancelledError:
                self.responses[CALLER_GONE] += 1
                raise
            except Exception as err:
                failure = self.explain(call, err)
            else:
                self.responses[200] += 1
                context.set_trailing_metadata(call.trailers())
                return answer
            finally:
                self.active -= 1
            self.responses[failure.http_status] += 1
            await context.abort(failure.code, failure.text, (*call.trailers(), *failure.metadata))
            raise AssertionError("abort does not return")

        return handle

    async def _read(self, context: Any) -> bytes:
        try:
            async with asyncio.timeout(self._read_s):
                message = await context.read()
        except TimeoutError as err:
            text = f"the message did not arrive within {self._read_s:g} s; send it faster"
            raise RequestError(text, 408) from err
        if message is grpc.aio.EOF:
            raise RequestError("the call ended without a message; send one")
        assert isinstance(message, bytes)
        return message
