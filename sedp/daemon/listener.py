"""One listening socket and its connections, each of them bounded.

aiohttp's low-level server parses HTTP; what it leaves open is closed here: the number of
connections, callers who never read their answer, and error texts of its own that are not JSON.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import orjson
from aiohttp import http_parser, web

from sedp.daemon.dispatch import SERVER, Dispatcher
from sedp.daemon.failures import FailureLog
from sedp.daemon.statistics import ListenerStatistics
from sedp.errors import ConfigError

BACKLOG = 1024  # more than connections_max would only wait to be refused
LINGER_S = 2.0  # a caller whose body was refused gets this long to read why
FULL_BODY = b'{"error": "too many connections; reuse one, or wait a bit"}'
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(FULL_BODY), FULL_BODY)
)


def bind(host: str, port: int, key: str) -> socket.socket:
    """Take an address without listening yet, so that a wrong one is found before the slow start.

    Args:
        key: of the config, for messages.

    Raises:
        ConfigError: the address is in use, not ours, or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as err:
        raise ConfigError(f"{key}: {host!r} is no address: {err.strerror}") from err
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as err:
        listening.close()
        mend = "stop the process that has it, or set another port"
        if err.errno != errno.EADDRINUSE:
            mend = "set an address of this machine and a port you may use"
        raise ConfigError(f"{key}: cannot listen on {host}:{port}: {err.strerror}; {mend}") from err
    return listening


class Listener:
    """Serves a dispatcher on a socket.

    Args:
        listening: bound; closed with the listener.
        connections_max: more are refused with a 503.
        keepalive_timeout_s: an idle connection, or one whose request's head does not come, is
            closed after this.
        stall_timeout_s: a connection whose peer stops reading is cut after this.
    """

    def __init__(
        self,
        listening: socket.socket,
        dispatcher: Dispatcher,
        log: FailureLog,
        *,
        connections_max: int,
        keepalive_timeout_s: float,
        stall_timeout_s: float,
    ) -> None:
        # Several framing weaknesses were in the pure Python parser only; it is slower, too.
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise ConfigError("aiohttp has no C parser here; install its wheel for this platform")
        # The kernel's own timeout works for full socket buffers, where no write call is pending.
        listening.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_timeout_s * 1_000)
        )
        self.dispatcher = dispatcher
        self.connections = 0
        self.connections_refused = 0
        self.log = log
        self._socket = listening
        self._connections_max = connections_max
        self._server = web.Server(dispatcher, handler_cancellation=True)
        self._options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,  # ours is bounded
            "keepalive_timeout": keepalive_timeout_s,
            "lingering_time": LINGER_S,
        }
        self._accepting: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port`, with the real port when 0 was asked for."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_full(self) -> bool:
        return self.connections >= self._connections_max

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._accepting = await loop.create_server(
            lambda: _Connection(self, self._server, loop=loop, **self._options),
            sock=self._socket,
            backlog=BACKLOG,
        )

    def statistics(self) -> ListenerStatistics:
        responses = dict(self.dispatcher.responses)
        return ListenerStatistics(self.connections, self.connections_refused, responses)

    async def close(self, timeout_s: float) -> None:
        """Stop accepting, let responses that are under way go out, close all connections."""
        if self._accepting:
            self._accepting.close()
        self._socket.close()
        self._server.pre_shutdown()
        await self._server.shutdown(timeout_s)


class _Connection(web.RequestHandler):
    """A connection that is counted, and whose errors are JSON."""

    def __init__(self, listener: Listener, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._listener = listener
        self._is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._listener.is_full and isinstance(transport, asyncio.Transport):
            self._listener.connections_refused += 1
            self.force_close()  # whatever arrives is ignored
            transport.write(FULL)
            transport.close()
            return
        self._is_counted = True
        self._listener.connections += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.connections -= self._is_counted
        self._is_counted = False
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are not HTTP; the connection cannot go on after them."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun; another cannot follow")
        self._listener.dispatcher.responses[status] += 1
        if status >= 500:
            self._listener.log.write("a connection failed", exc)
        response = web.Response(
            body=orjson.dumps({"error": "this is not a valid HTTP/1.1 request"}),
            status=status,
            headers={"Content-Type": "application/json", "Server": SERVER},
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **_options: Any) -> None:
        self._listener.log.write(f"a connection failed: {args[:1]}")
