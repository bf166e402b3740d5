"""What one connection may cost, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from sedp.config.daemon_settings import DaemonSettings

LINE_BYTES_MAX = 8190  # of a request's first line
FIELD_BYTES_MAX = 8190  # of a header's value
FIELDS_MAX = 64  # headers
HEAD_BYTES_MAX = 64 << 10  # of one that comes in pieces, and so has to be kept
READ_BYTES_MAX = 64 << 10  # of a body nobody has read yet; twice that makes the sender wait
REQUESTS_MAX = 16  # sent ahead of their turn; more wait in the socket

PARSER_LIMITS: dict[str, Any] = {  # as aiohttp's parser calls them
    "max_line_size": LINE_BYTES_MAX,
    "max_field_size": FIELD_BYTES_MAX,
    "max_headers": FIELDS_MAX,
    "max_msg_queue_size": REQUESTS_MAX,
}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Times in seconds; the config says what each is for.

    Args:
        head_timeout_s: from the first byte of a request's head to its last.
        idle_timeout_s: between an answer and the first byte of the next request.
        write_timeout_s: for an answer to be read.
        body_rate_min: bytes a second, after the first second; 0 for any.
    """

    connections_max: int = 1024
    connections_per_peer_max: int = 1024
    head_timeout_s: float = 10.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 30.0
    body_rate_min: int = 1024

    @classmethod
    def of(cls, settings: DaemonSettings) -> Self:
        """Those of the config."""
        return cls(
            settings.connections_max,
            settings.connections_per_peer_max,
            settings.head_timeout_ns / 1e9,
            settings.keepalive_timeout_ns / 1e9,
            settings.write_timeout_ns / 1e9,
            settings.body_rate_min,
        )

    @property
    def check_s(self) -> float:
        """How often connections are looked at; a limit holds to within this."""
        shortest_s = min(self.head_timeout_s, self.idle_timeout_s, self.write_timeout_s)
        return min(1.0, shortest_s / 10)
