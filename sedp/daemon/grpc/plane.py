"""The data plane over gRPC: the Open Inference Protocol v2, health and reflection.

It runs on the loop of the HTTP planes and asks the same repository and the same guard. Its port is
bound with SO_REUSEPORT: workers share it, and the kernel spreads connections over them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from sedp.daemon.access.guard import NOBODY, Guard
from sedp.daemon.failures import FailureLog
from sedp.daemon.grpc import reflecting
from sedp.daemon.grpc.calls import Border
from sedp.daemon.grpc.health import Health
from sedp.daemon.grpc.service import SERVICE_NAME, InferenceService, Statistics
from sedp.daemon.grpc.tls import Certificates, certified_peer
from sedp.daemon.in_flight_bytes import InFlightBytes
from sedp.daemon.monitoring.statistics import ListenerStatistics
from sedp.errors import ConfigError

if TYPE_CHECKING:
    from sedp.config.daemon_settings import DaemonSettings
    from sedp.daemon.repository import Repository

STREAMS_PART = 4  # one in so many calls may be a stream
PING_GAP_MS_MIN = 10_000  # callers who ping more often are cut off
METADATA_BYTES_MAX = 16_384

log = logging.getLogger(__name__)


class GrpcPlane:
    """What callers of the pipelines see over gRPC. Make it, and use it, on one running loop.

    Args:
        folder: where relative paths of `settings.tls` start.
        statistics: the body of the statistics extension over REST, of one pipeline or all.
        failures: for what went wrong on our side.
        in_flight: account of bytes; that of the process, or one of its own.

    Raises:
        ConfigError: a file of `settings.tls` cannot be read, or is more than gRPC can check.
    """

    def __init__(
        self,
        repository: Repository,
        guard: Guard,
        settings: DaemonSettings,
        *,
        folder: Path,
        statistics: Statistics,
        failures: FailureLog | None = None,
        in_flight: InFlightBytes | None = None,
    ) -> None:
        self.address = ""
        self._ready = False
        calls_max = settings.connections_max
        self._certificates = Certificates(settings.tls, folder) if settings.tls else None
        asks_callers = self._certificates is not None and self._certificates.asks_callers
        self._border = Border(
            guard,
            failures or FailureLog(log),
            read_s=settings.body_timeout_ns / 1e9,
            streams_max=max(1, calls_max // STREAMS_PART),
            peer=certified_peer if asks_callers else lambda _context: NOBODY,
        )
        self._health = Health(repository, lambda: self._ready)
        self.in_flight = in_flight or InFlightBytes(settings.in_flight_bytes_max)
        service = InferenceService(
            repository, guard, settings, statistics, lambda: self._ready, self.in_flight
        )
        handlers = {
            **service.handlers(self._border),
            **self._health.handlers(self._border),
            **reflecting.handlers(self._border),
        }
        self._server = grpc.aio.server(
            handlers=[_Methods(handlers)],
            options=_options(settings),
            maximum_concurrent_rpcs=calls_max,
        )

    @property
    def ready(self) -> bool:
        """Whether load balancers should send requests; it serves either way."""
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        self.refresh()

    def refresh(self) -> None:
        """Tell watchers of health; to be called when pipelines come or go."""
        self._health.refresh()

    async def start(self, address: str) -> None:
        """Serve.

        Args:
            address: `host:port`; with port 0 any free one, see `address` afterwards.

        Raises:
            ConfigError: it cannot be listened on.
        """
        try:
            if self._certificates is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._certificates.credentials())
        except RuntimeError as err:
            raise ConfigError(
                f"daemon.grpc: cannot listen on {address}; stop the process that has it, or set "
                "another port"
            ) from err
        self.address = f"{address.rpartition(':')[0]}:{port}"
        await self._server.start()

    def prepare_certificates(self, settings: DaemonSettings, folder: Path) -> object:
        """Read the files of `settings.tls` again, for `use_certificates`.

        Raises:
            ConfigError: one cannot be read, or asks for what cannot be changed while serving.
        """
        if (settings.tls is None) != (self._certificates is None):
            raise ConfigError("daemon.tls: gRPC cannot begin or cease to encrypt; restart")
        if settings.tls is None or self._certificates is None:
            return None
        return self._certificates.read(settings.tls, folder)

    def use_certificates(self, fresh: object) -> None:
        """Show what was prepared on new connections from now on; never fails."""
        if self._certificates is not None:
            self._certificates.current = fresh

    def statistics(self) -> ListenerStatistics:
        """As of HTTP's listeners, `connections` being the calls inside."""
        return ListenerStatistics(self._border.active, 0, dict(self._border.responses))

    async def close(self, timeout_s: float) -> None:
        """Stop accepting; calls inside may end within `timeout_s`, then they are cancelled."""
        self._health.close()
        await self._server.stop(timeout_s)


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc is untyped
    """What answers to a path; a reason for the paths that clients may know and nothing answers."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler]) -> None:
        self._handlers = handlers
        self._elsewhere = grpc.stream_unary_rpc_method_handler(
            _refuser("what changes the server is on the admin plane: POST /v2/repository/…")
        )
        self._nowhere = grpc.stream_unary_rpc_method_handler(
            _refuser("this is not offered here; reflection lists what is")
        )

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        path = details.method
        if path in self._handlers:
            return self._handlers[path]
        if path.startswith(f"/{SERVICE_NAME}/RepositoryModel"):
            return self._elsewhere
        return self._nowhere if path.startswith(f"/{SERVICE_NAME}/") else None


def _refuser(text: str) -> Any:
    async def refuse(_messages: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

    return refuse


def _options(settings: DaemonSettings) -> list[tuple[str, int]]:
    """Limits as gRPC names them; times in milliseconds."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.body_bytes_max),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        # More than may be inside: what is too much is refused, not left to wait at the caller's.
        ("grpc.max_concurrent_streams", 2 * settings.connections_max),
        ("grpc.server_handshake_timeout_ms", settings.head_timeout_ns // 1_000_000),
        ("grpc.max_connection_idle_ms", settings.keepalive_timeout_ns // 1_000_000),
        # A peer that is silent is asked for a sign of life, and cut off when none comes; the same
        # time goes for one that stops reading.
        ("grpc.keepalive_time_ms", settings.keepalive_timeout_ns // 1_000_000),
        ("grpc.keepalive_timeout_ms", settings.write_timeout_ns // 1_000_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_GAP_MS_MIN),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_GAP_MS_MIN),
    ]
