"""One listening socket and its connections, each of them bounded in number, time and bytes.

aiohttp parses HTTP and leaves open what a caller may cost; that is closed here and in
`sedp.daemon.http.connection`. One timer looks at all connections a few times in the shortest limit:
a timer for each would cost every request what only a wrong one should.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter

from aiohttp import web

from sedp.daemon.failures import FailureLog
from sedp.daemon.http.acceptor import Acceptor, ConnectionShare
from sedp.daemon.http.connection import Connection
from sedp.daemon.http.dispatch import Dispatcher
from sedp.daemon.http.limits import ConnectionLimits
from sedp.daemon.http.response import json_response
from sedp.daemon.http.unread_answers import UnreadAnswers
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.daemon.monitoring.statistics import ListenerStatistics

FULL = "too many connections; reuse one, or wait a bit"


class Listener:
    """Serves a dispatcher on a socket.

    Args:
        listening: bound, TCP or Unix; closed with the listener.
        limits: may be replaced while serving.
        in_flight: account of bytes; that of the process, or one of its own.
        ssl: encrypts connections accepted from now on.
        share: of the connections that several processes accept.
    """

    def __init__(
        self,
        listening: socket.socket,
        dispatcher: Dispatcher,
        log: FailureLog,
        *,
        limits: ConnectionLimits,
        in_flight: InFlightBytes,
        ssl: ssl.SSLContext | None = None,
        share: ConnectionShare | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.limits = limits
        self.log = log
        self.in_flight = in_flight
        self.unread = UnreadAnswers()
        self.connections_refused = 0
        self._socket = listening
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._server = web.Server(_never, handler_cancellation=True)
        self._acceptor = Acceptor(listening, self._connect, ssl=ssl, share=share)
        self._check: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._open)

    @property
    def accepted(self) -> int:
        """Open now, or about to be: those whose TLS handshake is under way are among them."""
        return self._acceptor.held

    @property
    def address(self) -> str:
        """`host:port`, with the real port when 0 was asked for; a Unix socket's path."""
        name = self._socket.getsockname()
        if isinstance(name, str):
            return name
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def listen(self) -> None:
        """Serve from now on."""
        if self._socket.family != socket.AF_UNIX:
            # Works for full socket buffers, too, where no write call of ours is pending.
            timeout_ms = int(self.limits.write_timeout_s * 1_000)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        self._acceptor.start()
        self._check_connections()

    def encrypt(self, ssl: ssl.SSLContext | None) -> None:
        """Encrypt connections accepted from now on by another context."""
        self._acceptor.ssl = ssl

    def stop_accepting(self) -> None:
        """Leave newcomers to other processes; serve on those that are here."""
        self._acceptor.stop()

    def statistics(self) -> ListenerStatistics:
        responses = dict(self.dispatcher.responses)
        cut = self.unread.callers_cut
        return ListenerStatistics(self.connections, self.connections_refused, responses, cut)

    async def close(self, timeout_s: float) -> None:
        """Stop accepting, let responses that are under way go out, close all connections."""
        self._acceptor.close()
        self._server.pre_shutdown()
        await self._server.shutdown(timeout_s)
        if self._check is not None:
            self._check.cancel()

    # What connections call.

    def admit(self, connection: Connection) -> bytes | None:
        """Count a new connection; or what it is told instead, when there are too many."""
        limits = self.limits
        address = connection.address
        theirs = self._by_address[address] if address else 0
        if len(self._open) < limits.connections_max and theirs < limits.connections_per_peer_max:
            self._open.add(connection)
            if address:
                self._by_address[address] += 1
            return None
        self.connections_refused += 1
        response = json_response(503, {"error": FULL}, {"Retry-After": "1"})
        return response.head("close") + response.body

    def forget(self, connection: Connection, is_counted: bool) -> None:
        """A connection is lost."""
        self._acceptor.release()
        if not is_counted:
            return
        self._open.discard(connection)
        address = connection.address
        if address:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _connect(self) -> Connection:
        return Connection(self, self._server, self._loop)

    def _check_connections(self) -> None:
        now = self._loop.time()
        for connection in list(self._open):
            connection.check(now)
        self._check = self._loop.call_later(self.limits.check_s, self._check_connections)


async def _never(_request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("connections ask the dispatcher themselves")
