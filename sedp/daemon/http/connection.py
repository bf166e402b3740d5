"""One HTTP connection: aiohttp's parser and framing, and our own way from a request to its answer.

aiohttp's `RequestHandler` makes a task, a stream writer and a response that can still be changed
for every request, and bounds neither heads nor writers in time. This subclass replaces the one
coroutine that does so, `start`. What reads bytes stays aiohttp's: there is no second parser.

This is the only file that uses aiohttp's private names; `parser` checks that they are there.

Invariant: whatever is sent answers the oldest request that has no answer, and after anything that
leaves doubt where the next request begins, the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from sedp.daemon.access.guard import NOBODY, Peer
from sedp.daemon.http.body import linger
from sedp.daemon.http.early_refusals import HEAD_END
from sedp.daemon.http.limits import HEAD_BYTES_MAX, REQUESTS_MAX
from sedp.daemon.http.parser import make_parser
from sedp.daemon.http.request import Request
from sedp.daemon.http.response import Response, json_response

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

    from sedp.daemon.http.listener import Listener

NOT_HTTP = "this is not a valid HTTP/1.1 request"
HEAD_TOO_SLOW = "the request's head did not arrive in time"
JOINED_BYTES_MAX = 64 << 10  # a larger answer is not copied behind its head
HEAD_TOO_LARGE = f"the request's head is larger than {HEAD_BYTES_MAX} bytes"


class Connection(RequestHandler):
    """Serves the requests of one connection, one after the other."""

    def __init__(self, listener: Listener, server: web.Server, loop: asyncio.AbstractEventLoop):
        super().__init__(server, loop=loop, access_log=cast(Any, None), keepalive_timeout=0)
        self._parser = make_parser(self, loop)
        self._max_msg_queue_size = REQUESTS_MAX
        self.address = ""  # the IP address at the other end, "" for a Unix socket
        self._listener = listener
        self._peer = NOBODY
        self._is_counted = False
        self._is_at_start = True  # nothing of a request is in the parser, or in the queue
        self._chunk = b""  # what came first of the request under way; b"" if that is not known
        self._came_bytes = 0  # since then, all in all
        self.account = listener.in_flight  # that bytes of the request under way are taken from
        self._held = 0  # of them
        self._head_bytes = 0
        self._head_since = 0.0  # when the first byte of a head came that is not complete; else 0
        self._wire: asyncio.Transport | None = None  # stays when aiohttp has let go of it
        self._unread_since = 0.0  # when the oldest bytes left to read were written; else 0
        self._idle_since = loop.time()

    # What asyncio and bodies call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's are, but not by class
        name = transport.get_extra_info("peername")
        self.address = str(name[0]) if isinstance(name, tuple) else ""
        full = self._listener.admit(self)
        if full is not None:
            self.force_close()  # whatever arrives is ignored
            self._wire.write(full)
            self._wire.close()
            return
        self._is_counted = True
        self._peer = Peer.of(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.forget(self, self._is_counted)
        self._is_counted = False
        self._give_back()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_at_start and data:
            if self._listener.dispatcher.early.heads and self._refuse_early(data):
                return
            self._is_at_start = False
            self._chunk = data
            self._came_bytes = len(data)
        else:
            self._came_bytes += len(data)
        super().data_received(data)
        if self._messages or self._waiter is None:
            self._head_since = 0.0
            self._head_bytes = 0
        elif data:
            self._await_head(len(data))

    def resume_reading(self, resume_parser: bool = True) -> None:
        """For each body twice, nearly always with nothing to resume."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    # What the listener and readers of bodies call.

    @property
    def body_rate_min(self) -> int:
        """Bytes a second."""
        return self._listener.limits.body_rate_min

    def hold(self, count: int) -> None:
        """Count bytes as in flight until the answer is sent.

        Raises:
            RequestError: 503, there are too many already.
        """
        self.account.take(count)
        self._held += count

    def opening(self, body_bytes: int) -> bytes | None:
        """Head and first bytes of the request under way, when nothing but the request came."""
        return self._chunk[: end + body_bytes] if (end := self._head_end()) else None

    def _head_end(self) -> int:
        """Where that head ends, or 0.

        The search may end before the head does, at empty lines in front of it, but never behind
        it; so lengths add up only if it ended with the head and no byte came after the body.
        """
        request = self._current_request
        if not self._chunk or request is None or request.message.chunked:
            return 0
        end = self._chunk.find(HEAD_END) + len(HEAD_END)
        content = request.content
        return end if content.is_eof() and self._came_bytes == end + content.total_bytes else 0

    def check(self, now: float) -> None:
        """Close the connection if its caller is too slow.

        Args:
            now: by the loop's clock.
        """
        limits = self._listener.limits
        if self._unread_since and self._wire is not None:
            if not self._wire.get_write_buffer_size():
                self._unread_since = 0.0
            elif now - self._unread_since > limits.write_timeout_s:
                self._listener.unread.callers_cut += 1
                self.cut_off()
                return
        if self._request_in_progress or self._messages or self.transport is None:
            return  # bodies and events have deadlines of their own
        if self._head_since:
            if now - self._head_since > limits.head_timeout_s:
                self._send_last(408, HEAD_TOO_SLOW)
        elif now - self._idle_since > limits.idle_timeout_s:
            self.force_close()

    def cut_off(self) -> None:
        """End the connection at once; what was not read is lost."""
        if self._wire is not None:
            self._wire.abort()

    # From a request to its answer.

    async def start(self) -> None:
        """Answer one request after the other; aiohttp runs this as the connection's task."""
        try:
            while not self._force_close and not self._close:
                if not self._messages:
                    self._waiter = self._loop.create_future()
                    try:
                        await self._waiter
                    finally:
                        self._waiter = None
                message, payload = self._messages.popleft()
                self._make_room()
                if not await self._serve(message, payload):
                    break
        except ConnectionError:
            pass  # the caller is gone
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as err:
            self._listener.log.write("a connection failed", err)
            self.force_close()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def _make_room(self) -> None:
        """A request was taken from the queue: the parser may go on, if it was held up."""
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= REQUESTS_MAX // 2:
            self._resume_reading_if_drained()

    async def _serve(self, message: RawRequestMessage | _ErrInfo, payload: StreamReader) -> bool:
        """Answer one request; whether the connection may go on."""
        if isinstance(message, _ErrInfo):
            self._send_last(message.status, NOT_HTTP)
            return False
        request = Request(message, payload, self)
        self._request_in_progress = True
        self._current_request = cast(Any, request)  # to be told when the connection is lost
        dispatcher = self._listener.dispatcher
        try:
            response = await dispatcher(request, self._peer)
            goes_on = self._send(response, message, dispatcher.closing or not payload.is_eof())
            self._is_at_start = goes_on and bool(self._head_end())
            self._chunk = b""
            answer_bytes = len(response.body)
            del response, request  # whatever holds on to this frame must not hold the answer
            if self._paused:
                await self._await_reader(answer_bytes)
        finally:
            self._current_request = None
            self._request_in_progress = False
            self._give_back()
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
        if not payload.is_eof() and not message.chunked:
            await linger(payload)
        return goes_on

    def _send(self, response: Response, message: RawRequestMessage, doubtful: bool) -> bool:
        """Write an answer; whether another may follow on this connection."""
        transport = self.transport
        if transport is None:
            raise ConnectionResetError
        # aiohttp's parser takes the last trailer of a chunked body for a header of the next request
        ends = message.should_close or message.chunked or message.upgrade
        closes = ends or self._upgraded or doubtful
        connection = "close" if closes else "keep-alive" if message.version < (1, 1) else ""
        head = response.head(connection)
        if message.method == "HEAD":
            self._write(transport, head)
        elif len(response.body) <= JOINED_BYTES_MAX:
            self._write(transport, head + response.body)
        else:
            self._write(transport, head)
            transport.write(response.body)
        return not closes

    async def _await_reader(self, answer_bytes: int) -> None:
        """Go on only when the caller has read, who may be cut off if too many are slow."""
        unread, cut_off = self._listener.unread, self.cut_off
        unread.add(cut_off, answer_bytes, self._listener.in_flight.bytes_max)
        try:
            await self._drain_helper()
        finally:
            unread.remove(cut_off)
        self._unread_since = self._loop.time()  # for what is left, which is little

    def _refuse_early(self, data: bytes) -> bool:
        """Whether what came was answered already."""
        dispatcher = self._listener.dispatcher
        if self._force_close or self._close or dispatcher.closing or self._paused:
            return False
        if self.transport is None or self._waiter is None:
            return False
        answer = dispatcher.early.answer(data, self._peer)
        if answer is not None:
            self._write(self.transport, answer)
        return answer is not None

    def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        has_read = not self._unread_since or not transport.get_write_buffer_size()
        transport.write(data)
        self._idle_since = now = self._loop.time()
        if has_read:
            self._unread_since = now  # `check` looks whether anything is left

    def _await_head(self, more_bytes: int) -> None:
        """Some of a head has come, and not all of it."""
        if not self._head_since:
            self._head_since = self._loop.time()
        self._head_bytes += more_bytes
        if self._head_bytes > HEAD_BYTES_MAX:
            self._send_last(431, HEAD_TOO_LARGE)

    def _send_last(self, status: int, text: str) -> None:
        """Answer what is no request, and close: nothing that follows can be understood."""
        self._listener.dispatcher.responses[status] += 1
        response = json_response(status, {"error": text})
        if self.transport is not None:
            self.transport.write(response.head("close") + response.body)
        self.force_close()

    def _give_back(self) -> None:
        if self._held:
            self.account.give_back(self._held)
            self._held = 0
