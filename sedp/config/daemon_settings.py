"""The keys of the serving process: where it listens, and what one caller may cost.

See `sedp.config.settings` for how these types are used.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sedp.config.addresses import ADDRESS, Address
from sedp.config.section import FilePath, Name, Section
from sedp.config.security_settings import AuthSettings, TenantSettings, TlsSettings
from sedp.units import (
    GIB,
    HOUR,
    KIB,
    MIB,
    MILLISECOND,
    MINUTE,
    SECOND,
    TIB,
    byte_count,
    duration,
)


class DaemonSettings(Section, frozen=True, kw_only=True):
    """The serving process: where it listens and what one connection may cost."""

    # Behaviour
    listen: Annotated[
        Address,
        ADDRESS.meta(
            "Where inference requests arrive: host:port or unix:/path. Where other machines can "
            "reach it, tls and auth are needed."
        ),
    ] = Address("127.0.0.1", 8000)
    admin: Annotated[
        Address,
        ADDRESS.meta("Where health, metrics and what changes the daemon are served; the same."),
    ] = Address("127.0.0.1", 8001)
    grpc: Annotated[
        Annotated[Address, ADDRESS.meta("An address.")] | None,
        Meta(description="Where gRPC requests arrive, the same; needs the extra `sedp[grpc]`."),
    ] = None
    tls: Annotated[TlsSettings | None, Meta(description="Encrypts all listeners.")] = None
    auth: Annotated[
        AuthSettings | None,
        Meta(description="Who may call; needed to listen where other machines can reach."),
    ] = None
    tenants: Annotated[
        dict[Name, TenantSettings],
        Meta(max_length=1024, description="What tenants may use, by name."),
    ] = msgspec.field(default_factory=dict)
    audit_log: Annotated[
        FilePath | None,
        Meta(description="File to which each call that changes something is added."),
    ] = None
    body_bytes_max: Annotated[
        int,
        byte_count(KIB, GIB, "Largest request body. Raise it when requests are refused with 413."),
    ] = 16 * MIB
    tensors_max: Annotated[
        int, Meta(ge=1, le=1024, description="Most input or output tensors in one request.")
    ] = 64
    head_timeout_ns: Annotated[
        int,
        duration(100 * MILLISECOND, HOUR, "How long a caller may take to send a request's head."),
    ] = msgspec.field(default=10 * SECOND, name="head_timeout")
    body_timeout_ns: Annotated[
        int,
        duration(100 * MILLISECOND, HOUR, "How long a caller may take to send a request's body."),
    ] = msgspec.field(default=10 * SECOND, name="body_timeout")
    body_rate_min: Annotated[
        int,
        byte_count(
            0,
            GIB,
            "Bytes a second that a body must bring after its first second; 0 asks none.",
        ),
    ] = KIB
    write_timeout_ns: Annotated[
        int,
        duration(100 * MILLISECOND, HOUR, "How long a caller may take to read an answer."),
    ] = msgspec.field(default=30 * SECOND, name="write_timeout")
    keepalive_timeout_ns: Annotated[
        int,
        duration(
            SECOND,
            HOUR,
            "How long an idle connection stays open. Keep it above that of a proxy in front.",
        ),
    ] = msgspec.field(default=75 * SECOND, name="keepalive_timeout")
    drain_delay_ns: Annotated[
        int,
        duration(
            0,
            10 * MINUTE,
            "After SIGTERM, how long to serve on while not ready, so that load balancers notice.",
        ),
    ] = msgspec.field(default=0, name="drain_delay")
    drain_ns: Annotated[
        int,
        duration(0, 10 * MINUTE, "After SIGTERM, how long events in flight may take to finish."),
    ] = msgspec.field(default=10 * SECOND, name="drain")

    # Performance
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | Literal["auto"],
        Meta(
            description="Processes that serve; 1 serves in the one that was started, auto takes "
            "one for each core that cpuset and CPU quota grant."
        ),
    ] = "auto"
    connections_max: Annotated[
        int, Meta(ge=1, le=65_536, description="Most connections open at once, a worker.")
    ] = 1024
    connections_per_peer_max: Annotated[
        int,
        Meta(ge=1, le=65_536, description="Most connections of one IP address, a worker."),
    ] = 1024
    in_flight_bytes_max: Annotated[
        int,
        byte_count(MIB, TIB, "Request bodies that may be inside at once, a worker; more get 503."),
    ] = 256 * MIB
    threads: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"],
        Meta(description="Cores to use; auto takes what cpuset and CPU quota grant."),
    ] = "auto"
